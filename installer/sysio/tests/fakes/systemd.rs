//! A fake systemd manager on a unix socket: D-Bus without a bus between. Answers only what `sysio::units` asks.

use futures::StreamExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use zbus::message::Type;
use zbus::{Message, MessageStream, OwnedObjectPath, Variant};

type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// Units the fake knows: name, load state, active state, sub state, microseconds of the last change.
pub type Units = Arc<Mutex<Vec<(&'static str, &'static str, &'static str, &'static str, u64)>>>;

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
        units.iter().enumerate().filter(|(_, u)| wanted(u.0, u.2)).map(|(n, u)| row(n, u)).collect()
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
            let changed = units.lock().unwrap()[index].4;
            connection.reply(&header, &Variant::from(changed)).await.unwrap();
        }
        other => {
            let text = format!("no method {other:?}");
            connection.reply_error(&header, "org.freedesktop.DBus.Error.UnknownMethod", &text).await.unwrap();
        }
    }
}

fn row(index: usize, unit: &(&str, &str, &str, &str, u64)) -> Row {
    let path = |text: String| OwnedObjectPath::try_from(text).unwrap();
    (
        unit.0.to_owned(),
        String::new(),
        unit.1.to_owned(),
        unit.2.to_owned(),
        unit.3.to_owned(),
        String::new(),
        path(format!("/unit/{index}")),
        0,
        String::new(),
        path("/".to_owned()),
    )
}
