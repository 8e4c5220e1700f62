//! `cargo xtask demo`: a bare machine becomes a healthy master by itself, before your eyes.

use crate::failure::{CommandResult, UNKNOWN, failure};
use crate::{host, machines};
use ::tests::machine::Firmware;
use ::tests::scenarios::{Example, IsoBoot, install_from_iso};
use anyhow::{Result, ensure};
use std::path::PathBuf;

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Firmware of the machine.
    #[arg(long, value_enum, default_value_t = FirmwareName::Bios)]
    firmware: FirmwareName,
    /// Keep the machine running until Enter is pressed.
    #[arg(long)]
    keep: bool,
    /// Folder with the Kubernetes artefacts named in images/pins.toml (an operator's mirror).
    #[arg(long)]
    artifacts: Option<PathBuf>,
}

/// Firmware by name.
#[derive(Clone, Copy, clap::ValueEnum)]
enum FirmwareName {
    /// SeaBIOS, the ISO on a CD.
    Bios,
    /// OVMF, the ISO on a USB stick.
    Uefi,
}

/// Builds what is missing, boots a machine, and ends with its health report.
///
/// # Errors
/// A build fails, or the machine does not become healthy.
pub fn run(args: &Args) -> CommandResult {
    let image = machines::build_real_or_double(args.artifacts.as_deref())?;
    let double = image.double;
    let context = machines::context(image)?;
    let firmware = match args.firmware {
        FirmwareName::Bios => Firmware::Bios,
        FirmwareName::Uefi => Firmware::Uefi,
    };
    eprintln!(
        "\nA machine with an empty disk is switched on; {}.\n\
         It finds its cluster file, installs itself as master-1, reboots, and says when it is healthy.\n\
         Its whole console: {}/demo/serial.log\n",
        context.accel.describe(),
        context.work.display()
    );
    let keep = args.keep;
    let (figures, report) = install_from_iso(
        &context,
        IsoBoot { firmware, name: "demo", example: Example::Single, data_mount: None },
        &mut |port| {
            eprintln!(
                "\nThe health report of the node, by `metalstrap status --url http://127.0.0.1:{port}`:\n"
            );
            show_status(port)?;
            if keep { wait_for_enter(port) } else { Ok(()) }
        },
    )?;
    ensure!(report.node.k3s_double == double, "the node runs another k3s than the image has");
    if double {
        warn_of_double();
    }
    let Some(secs) = figures.get("power_on_to_healthy_secs") else {
        return Err(failure(UNKNOWN, "the demo has no duration"));
    };
    println!("{}", last_line(report.summary.ok, *secs));
    Ok(())
}

/// The line the demo ends with.
fn last_line(checks: u32, secs: f64) -> String {
    format!("demo: master-1 healthy, {checks} checks ok, power-on to healthy {secs:.0} s")
}

/// Said before the build and at the end: nobody shall take the double for Kubernetes.
pub fn warn_of_double() {
    eprintln!(
        "\n*** K3S DOUBLE: this node runs the project's test double in the place of k3s. It is NOT Kubernetes. ***\n\
         *** Everything else (image, installer, boot, firewall, health agent) is the real thing.            ***\n"
    );
}

fn show_status(port: u16) -> Result<()> {
    let mut command = host::command(machines::metalstrap()?);
    command.args(["status", "--url", &format!("http://127.0.0.1:{port}")]);
    let table = host::output(&mut command)?;
    println!("{}", table.trim_end());
    Ok(())
}

fn wait_for_enter(port: u16) -> Result<()> {
    eprintln!("\nThe machine keeps running: http://127.0.0.1:{port}/v1/report. Press Enter to end it.");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::last_line;

    #[test]
    fn ends_with_the_promised_line() {
        assert_eq!(last_line(17, 201.6), "demo: master-1 healthy, 17 checks ok, power-on to healthy 202 s");
    }
}
