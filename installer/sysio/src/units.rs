//! systemd's units, asked over D-Bus. Read-only; nothing here starts or stops a unit.
//!
//! Only named units and failed units are asked for, never the whole list: a busy kubelet has thousands of scopes.

use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Mutex;
use zbus::{OwnedObjectPath, OwnedVariant};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Where systemd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// The system bus.
    System,
    /// A socket that speaks D-Bus without a bus between, as a fake in tests does.
    Peer(PathBuf),
}

/// One unit as systemd describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Name with its suffix, such as `k3s.service`.
    pub name: String,
    /// `loaded`, `not-found`, `masked`, `error`, …
    pub load_state: String,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active_state: String,
    /// Finer state that depends on the type, such as `running`, `exited`, `auto-restart`.
    pub sub_state: String,
    /// True when systemd has a job for the unit (somebody is starting or stopping it).
    pub has_job: bool,
    /// Microseconds of the monotonic clock at which the unit came into this state; 0 when systemd does not know.
    pub changed_monotonic_usecs: u64,
    /// Microseconds of the monotonic clock at which the unit was active for the last time before now; 0 when it never was.
    pub left_active_monotonic_usecs: u64,
    /// How often systemd has started a service again by itself since somebody started it; 0 for other units.
    pub restarts: u32,
}

/// Why systemd could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum UnitsError {
    /// No connection to the bus.
    #[error("connecting to systemd over D-Bus")]
    Connect(#[source] zbus::Error),
    /// The call failed or was not answered in time.
    #[error("calling {method} of systemd")]
    Call {
        /// Method of the manager or property asked for.
        method: &'static str,
        /// What D-Bus says.
        #[source]
        source: zbus::Error,
    },
}

/// A connection to systemd that is made on first use and again after it broke.
#[derive(Debug)]
pub struct Systemd {
    bus: Bus,
    method_timeout: Duration,
    connection: Mutex<Option<zbus::Connection>>,
}

/// `(name, description, load, active, sub, following, path, job id, job type, job path)`, as systemd documents it.
type ListedUnit =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

impl Systemd {
    /// Connects to nothing yet. A call that is not answered within `method_timeout` fails.
    pub fn new(bus: Bus, method_timeout: Duration) -> Self {
        Self { bus, method_timeout, connection: Mutex::new(None) }
    }

    /// The unit of that name; one that does not exist comes back with `load_state` `not-found`.
    ///
    /// # Errors
    /// When systemd cannot be reached or does not answer in time.
    pub async fn unit(&self, name: &str) -> Result<Unit, UnitsError> {
        let listed = self.list("ListUnitsByNames", &vec![name]).await?;
        let Some(row) = listed.into_iter().next() else {
            return Ok(Unit { name: name.to_owned(), load_state: "not-found".to_owned(), ..Unit::default() });
        };
        let path = row.6.clone();
        let mut unit = unit_from(row);
        if unit.load_state != "not-found" {
            unit.changed_monotonic_usecs =
                self.property(&path, UNIT, "StateChangeTimestampMonotonic").await?;
            unit.left_active_monotonic_usecs =
                self.property(&path, UNIT, "ActiveExitTimestampMonotonic").await?;
            if unit.name.ends_with(".service") {
                unit.restarts = self.property(&path, SERVICE, "NRestarts").await?;
            }
        }
        Ok(unit)
    }

    /// All units in state `failed`, sorted by name; a unit whose file is gone (`not-found`) is a ghost and left out.
    ///
    /// # Errors
    /// When systemd cannot be reached or does not answer in time.
    pub async fn failed_units(&self) -> Result<Vec<Unit>, UnitsError> {
        let listed = self.list("ListUnitsFiltered", &vec!["failed"]).await?;
        let mut units: Vec<Unit> =
            listed.into_iter().map(unit_from).filter(|unit| unit.load_state != "not-found").collect();
        units.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(units)
    }

    async fn list(&self, method: &'static str, argument: &Vec<&str>) -> Result<Vec<ListedUnit>, UnitsError> {
        let connection = self.connected().await?;
        let answer =
            connection.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), method, argument).await;
        let rows = answer.and_then(|message| message.body().deserialize::<Vec<ListedUnit>>());
        self.kept(method, rows).await
    }

    async fn property<T>(
        &self,
        path: &OwnedObjectPath,
        interface: &'static str,
        name: &'static str,
    ) -> Result<T, UnitsError>
    where
        T: TryFrom<OwnedVariant, Error = zbus::Error>,
    {
        let connection = self.connected().await?;
        let answer =
            connection.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "Get", &(interface, name)).await;
        let value =
            answer.and_then(|message| message.body().deserialize::<OwnedVariant>()).and_then(T::try_from);
        self.kept(name, value).await
    }

    async fn connected(&self) -> Result<zbus::Connection, UnitsError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let builder = match &self.bus {
            Bus::System => zbus::connection::Builder::system(),
            Bus::Peer(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path)
                    .map_err(|error| UnitsError::Connect(error.into()))?;
                zbus::connection::Builder::unix_stream(stream).p2p()
            }
        };
        // The handshake is no method call and would wait for ever.
        let building = builder.method_timeout(self.method_timeout).build();
        let connection = match tokio::time::timeout(self.method_timeout, building).await {
            Ok(built) => built.map_err(UnitsError::Connect)?,
            Err(_) => {
                return Err(UnitsError::Connect(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
            }
        };
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// After a failed call the connection is given up, so that the next call makes a new one: a restarted
    /// bus daemon disconnects everybody.
    async fn kept<T>(&self, method: &'static str, result: zbus::Result<T>) -> Result<T, UnitsError> {
        match result {
            Ok(value) => Ok(value),
            Err(source) => {
                *self.connection.lock().await = None;
                Err(UnitsError::Call { method, source })
            }
        }
    }
}

fn unit_from(row: ListedUnit) -> Unit {
    Unit {
        name: row.0,
        load_state: row.2,
        active_state: row.3,
        sub_state: row.4,
        has_job: row.7 != 0,
        changed_monotonic_usecs: 0,
        left_active_monotonic_usecs: 0,
        restarts: 0,
    }
}
