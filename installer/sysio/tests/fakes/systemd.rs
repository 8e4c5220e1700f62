//! A fake systemd manager on a unix socket: D-Bus without a bus between. Answers only what `sysio::units` asks.

use futures::StreamExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use zbus::message::Type;
use zbus::{Message, MessageStream, OwnedObjectPath, Variant};

type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// One unit of the fake.
#[derive(Clone, Debug)]
pub struct FakeUnit {
    pub name: &'static str,
    pub load: &'static str,
    pub active: &'static str,
    pub sub: &'static str,
    /// Microseconds of the last change.
    pub changed: u64,
    /// Microseconds at which it was active last.
    pub left_active: u64,
    pub restarts: u32,
}

/// A unit that was never active before and never started again.
pub fn unit(
    name: &'static str,
    load: &'static str,
    active: &'static str,
    sub: &'static str,
    changed: u64,
) -> FakeUnit {
    FakeUnit { name, load, active, sub, changed, left_active: 0, restarts: 0 }
}

/// Units the fake knows.
pub type Units = Arc<Mutex<Vec<FakeUnit>>>;

/// Listens at `socket` until the runtime ends.
pub fn serve(socket: &Path, units: Units) {
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let units = units.clone();
            tokio::spawn(async move {
                let connection = zbus::connection::Builder::unix_stream(stream.into_std().unwrap())
                    .server(zbus::Guid::generate())
                    .p2p()
                    .build()
                    .await
                    .unwrap();
                let mut calls = MessageStream::from(&connection);
                while let Some(Ok(call)) = calls.next().await {
                    if call.message_type() == Type::MethodCall {
                        answer(&connection, &call, &units).await;
                    }
                }
            });
        }
    });
}

async fn answer(connection: &zbus::Connection, call: &Message, units: &Units) {
    let header = call.header();
    let rows = |wanted: &dyn Fn(&str, &str) -> bool| -> Vec<Row> {
        let units = units.lock().unwrap();
        units.iter().enumerate().filter(|(_, u)| wanted(u.name, u.active)).map(|(n, u)| row(n, u)).collect()
    };
    match header.member().map(|member| member.as_str()) {
        Some("ListUnitsByNames") => {
            let names: Vec<String> = call.body().deserialize().unwrap();
            connection.reply(&header, &rows(&|name, _| names.iter().any(|n| n == name))).await.unwrap();
        }
        Some("ListUnitsFiltered") => {
            let states: Vec<String> = call.body().deserialize().unwrap();
            connection.reply(&header, &rows(&|_, active| states.iter().any(|s| s == active))).await.unwrap();
        }
        Some("Get") => {
            let path = header.path().unwrap().to_string();
            let index: usize = path.rsplit('/').next().unwrap().parse().unwrap();
            let (interface, property): (String, String) = call.body().deserialize().unwrap();
            let unit = units.lock().unwrap()[index].clone();
            let value = match (interface.rsplit('.').next().unwrap(), property.as_str()) {
                ("Unit", "StateChangeTimestampMonotonic") => Variant::from(unit.changed),
                ("Unit", "ActiveExitTimestampMonotonic") => Variant::from(unit.left_active),
                ("Service", "NRestarts") => Variant::from(unit.restarts),
                // Of a type that nobody asks for.
                _ => Variant::from("no such property"),
            };
            connection.reply(&header, &value).await.unwrap();
        }
        other => {
            let text = format!("no method {other:?}");
            connection.reply_error(&header, "org.freedesktop.DBus.Error.UnknownMethod", &text).await.unwrap();
        }
    }
}

fn row(index: usize, unit: &FakeUnit) -> Row {
    let path = |text: String| OwnedObjectPath::try_from(text).unwrap();
    (
        unit.name.to_owned(),
        String::new(),
        unit.load.to_owned(),
        unit.active.to_owned(),
        unit.sub.to_owned(),
        String::new(),
        path(format!("/unit/{index}")),
        0,
        String::new(),
        path("/".to_owned()),
    )
}
