//! The stand-in for kube-vip v0.8.7 in ARP mode: leader election on a Lease, and the address on the interface.
//!
//! A process of its own, so that it outlives `systemctl stop k3s` as the real container does (KillMode=process).

use crate::client::{Client, Kubeconfig};
use crate::server::stopped;
use crate::store::now_micro;
use crate::{log, netif};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Hidden subcommand.
pub const SUBCOMMAND: &str = "double-kube-vip";
/// Variables that are handed on to the process.
const NAMES: [&str; 10] = [
    "vip_interface",
    "address",
    "port",
    "vip_nodename",
    "vip_leasename",
    "cp_namespace",
    "vip_leaseduration",
    "vip_renewdeadline",
    "vip_retryperiod",
    KUBECONFIG,
];
const KUBECONFIG: &str = "K3S_DOUBLE_KUBECONFIG";

/// The checked environment of the container.
pub struct VipEnv {
    /// Interface that gets the address.
    pub interface: String,
    address: Ipv4Addr,
    port: u16,
    node: String,
    lease: String,
    namespace: String,
    duration_secs: u64,
    deadline_secs: u64,
    retry_secs: u64,
    kubeconfig: String,
}

impl VipEnv {
    /// Checks the container's environment. Settings that are not emulated are refused, not passed over.
    ///
    /// # Errors
    /// Says which variable is wrong.
    pub fn parse(env: &BTreeMap<String, String>, kubeconfig: &str) -> Result<Self, String> {
        for name in ["vip_arp", "cp_enable", "vip_leaderelection"] {
            if env.get(name).map(String::as_str) != Some("true") {
                return Err(format!("{name} is not \"true\", which is not emulated by the k3s double"));
            }
        }
        for name in ["svc_enable", "lb_enable", "bgp_enable"] {
            if env.get(name).is_some_and(|v| v == "true") {
                return Err(format!("{name} is \"true\", which is not emulated by the k3s double"));
            }
        }
        if env.get("vip_subnet").is_some_and(|v| !v.is_empty() && !v.starts_with('/')) {
            return Err("vip_subnet needs the slash in v0.8: invalid CIDR address".into());
        }
        if env.get("vip_cidr").is_none_or(|v| v != "32") {
            return Err("vip_cidr is not \"32\"".into());
        }
        let text = |name: &str| {
            env.get(name).filter(|v| !v.is_empty()).cloned().ok_or_else(|| format!("{name} is not set"))
        };
        let or = |name: &str, default: &str| text(name).unwrap_or_else(|_| default.to_owned());
        let number = |name: &str, default: &str| {
            or(name, default).parse::<u64>().map_err(|_| format!("{name} is not a number"))
        };
        let found = Self {
            interface: text("vip_interface")?,
            address: text("address")?.parse().map_err(|_| "address is not an IPv4 address".to_owned())?,
            port: text("port")?.parse().map_err(|_| "port is not a number".to_owned())?,
            node: text("vip_nodename")?,
            lease: or("vip_leasename", "plndr-cp-lock"),
            namespace: or("cp_namespace", "kube-system"),
            duration_secs: number("vip_leaseduration", "5")?,
            deadline_secs: number("vip_renewdeadline", "3")?,
            retry_secs: number("vip_retryperiod", "1")?,
            kubeconfig: kubeconfig.to_owned(),
        };
        if found.duration_secs <= found.deadline_secs
            || found.deadline_secs <= found.retry_secs
            || found.retry_secs == 0
        {
            return Err(
                "vip_leaseduration must be above vip_renewdeadline, and that above vip_retryperiod".into()
            );
        }
        Ok(found)
    }

    /// As environment of the process.
    pub fn to_environment(&self) -> Vec<(&'static str, String)> {
        let values = [
            self.interface.clone(),
            self.address.to_string(),
            self.port.to_string(),
            self.node.clone(),
            self.lease.clone(),
            self.namespace.clone(),
            self.duration_secs.to_string(),
            self.deadline_secs.to_string(),
            self.retry_secs.to_string(),
            self.kubeconfig.clone(),
        ];
        NAMES.into_iter().zip(values).collect()
    }

    fn from_process() -> Result<Self> {
        let mut env: BTreeMap<String, String> =
            NAMES.iter().filter_map(|n| std::env::var(n).ok().map(|v| ((*n).to_owned(), v))).collect();
        for (name, value) in
            [("vip_arp", "true"), ("cp_enable", "true"), ("vip_leaderelection", "true"), ("vip_cidr", "32")]
        {
            env.insert(name.into(), value.into());
        }
        let kubeconfig = env.get(KUBECONFIG).cloned().with_context(|| format!("{KUBECONFIG} is not set"))?;
        Self::parse(&env, &kubeconfig).map_err(anyhow::Error::msg)
    }
}

/// Runs the process until it loses its leadership or is told to end.
///
/// # Errors
/// Leadership lost, or the address cannot be added.
pub fn run() -> Result<()> {
    let env = VipEnv::from_process()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut election = Election::new(&env)?;
        let result = tokio::select! {
            // The handler must be there before READY=1 can be seen.
            biased;
            () = stopped() => Ok(()),
            result = election.run() => result,
        };
        if election.leading {
            netif::remove(&env.interface, env.address).await?;
            log(format!("kube-vip: {} removed from {}", env.address, env.interface));
            if result.is_ok() {
                election.release().await;
            }
        }
        result
    })
}

struct Election<'a> {
    env: &'a VipEnv,
    client: Client,
    leading: bool,
    renewed: Instant,
    /// The foreign lease as last seen, and when it was first seen so.
    seen: Option<(Value, Instant)>,
}

impl<'a> Election<'a> {
    fn new(env: &'a VipEnv) -> Result<Self> {
        let config = Kubeconfig::read(Path::new(&env.kubeconfig))?;
        // cp_enable forces the host `kubernetes`, which the hostAlias makes 127.0.0.1.
        let client = Client::from_kubeconfig(&config)?.at(&format!("127.0.0.1:{}", env.port));
        Ok(Self { env, client, leading: false, renewed: Instant::now(), seen: None })
    }

    fn collection(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.env.namespace)
    }

    async fn run(&mut self) -> Result<()> {
        let mut said = String::new();
        loop {
            let deadline = Duration::from_secs(self.env.deadline_secs);
            let attempt = match tokio::time::timeout(deadline, self.attempt()).await {
                Ok(result) => result,
                Err(_) => Err(anyhow::anyhow!("no answer from the API server")),
            };
            match attempt {
                Ok(true) => {
                    self.renewed = Instant::now();
                    if !self.leading {
                        self.leading = true;
                        netif::add(&self.env.interface, self.env.address).await?;
                        log(format!(
                            "kube-vip: {} leads and holds {} on {}",
                            self.env.node, self.env.address, self.env.interface
                        ));
                    } else if !netif::holds(&self.env.interface, self.env.address) {
                        netif::add(&self.env.interface, self.env.address).await?;
                    }
                }
                Ok(false) if self.leading => bail!("kube-vip: lost leadership, restarting kube-vip"),
                Ok(false) => {}
                Err(error) => {
                    let text = format!("kube-vip: {error:#}");
                    if text != said {
                        log(&text);
                        said = text;
                    }
                    if self.leading && self.renewed.elapsed() >= deadline {
                        bail!("kube-vip: lost leadership, restarting kube-vip");
                    }
                }
            }
            tokio::time::sleep(Duration::from_secs(self.env.retry_secs)).await;
        }
    }

    /// Takes or renews the lease; false when another one holds it.
    async fn attempt(&mut self) -> Result<bool> {
        let path = format!("{}/{}", self.collection(), self.env.lease);
        let reply = self.client.get(&path).await?;
        match reply.status {
            404 => {
                let reply = self.client.json("POST", &self.collection(), &self.lease(None)).await?;
                Ok(reply.status == 201)
            }
            200 => {
                let old = reply.json()?;
                let holder = old["spec"]["holderIdentity"].as_str().unwrap_or_default();
                if !holder.is_empty() && holder != self.env.node && !self.expired(&old) {
                    return Ok(false);
                }
                let reply = self.client.json("PUT", &path, &self.lease(Some(&old))).await?;
                if reply.status >= 500 {
                    bail!("renewing the lease: status {}", reply.status);
                }
                Ok(reply.status == 200)
            }
            status => bail!("reading the lease: status {status}"),
        }
    }

    /// True when a foreign lease has not changed for its whole duration, by the own clock.
    fn expired(&mut self, lease: &Value) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == &lease["spec"] => {
                since.elapsed() >= Duration::from_secs(self.env.duration_secs)
            }
            _ => {
                self.seen = Some((lease["spec"].clone(), Instant::now()));
                false
            }
        }
    }

    fn lease(&self, old: Option<&Value>) -> Value {
        let now = now_micro();
        let spec = old.map(|o| &o["spec"]);
        let keeps = spec.is_some_and(|s| s["holderIdentity"] == self.env.node.as_str());
        let transitions = spec.and_then(|s| s["leaseTransitions"].as_u64()).unwrap_or_default();
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": self.env.lease, "namespace": self.env.namespace,
                "resourceVersion": old.map(|o| o["metadata"]["resourceVersion"].clone())},
            "spec": {"holderIdentity": self.env.node, "leaseDurationSeconds": self.env.duration_secs, "renewTime": now,
                "acquireTime": if keeps { spec.map(|s| s["acquireTime"].clone()) } else { Some(now.clone().into()) },
                "leaseTransitions": if keeps || old.is_none() { transitions } else { transitions + 1 }}})
    }

    /// Gives the lease back, so that another one need not wait (ReleaseOnCancel).
    async fn release(&self) {
        let path = format!("{}/{}", self.collection(), self.env.lease);
        let Ok(Ok(old)) = self.client.get(&path).await.map(|r| r.json()) else { return };
        if old["spec"]["holderIdentity"] != self.env.node.as_str() {
            return;
        }
        let mut lease = self.lease(Some(&old));
        lease["spec"]["holderIdentity"] = "".into();
        if let Err(error) = self.client.json("PUT", &path, &lease).await {
            log(format!("kube-vip: giving the lease back: {error:#}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::VipEnv;
    use std::collections::BTreeMap;

    fn env() -> BTreeMap<String, String> {
        [
            ("vip_arp", "true"),
            ("cp_enable", "true"),
            ("vip_leaderelection", "true"),
            ("vip_cidr", "32"),
            ("vip_interface", "cluster0"),
            ("address", "10.0.0.10"),
            ("port", "6443"),
            ("vip_nodename", "m1"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
    }

    #[test]
    fn takes_the_pod_of_the_reference() {
        assert_eq!(VipEnv::parse(&env(), "/k").unwrap().lease, "plndr-cp-lock");
    }

    #[test]
    fn refuses_what_kube_vip_would_trip_over() {
        let with = |key: &str, value: &str| {
            let mut env = env();
            env.insert(key.into(), value.into());
            VipEnv::parse(&env, "/k").err().unwrap()
        };
        assert_eq!(with("vip_subnet", "32"), "vip_subnet needs the slash in v0.8: invalid CIDR address");
        assert_eq!(with("address", "vip"), "address is not an IPv4 address");
        assert_eq!(
            with("svc_enable", "true"),
            "svc_enable is \"true\", which is not emulated by the k3s double"
        );
        assert_eq!(
            with("vip_renewdeadline", "9"),
            "vip_leaseduration must be above vip_renewdeadline, and that above vip_retryperiod"
        );
    }
}
