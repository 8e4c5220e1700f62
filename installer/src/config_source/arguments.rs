//! The kernel's arguments that are ours.

use crate::exit::ExitCode;
use crate::inventory::sanitise;
use crate::preflight::{ensure_skippable, split_ids};
use crate::refusal::Refusal;
use sysio::kernel_line;
use sysio::sysfs::SysRoot;
use uuid::Uuid;

/// Every `metalstrap.*` argument of the contract, whoever reads it.
const KNOWN: [&str; 16] = [
    "config",
    "debug",
    "disk",
    "halt_if_installed",
    "medium",
    "mode",
    "node",
    "reinstall",
    "skip",
    "slot",
    "slotname",
    "state",
    "sums",
    "support",
    "url",
    "wipe",
];

/// Likeness from which on a name is worth suggesting.
const SUGGEST_FROM: f64 = 0.7;

/// What the live system does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Install and reboot.
    #[default]
    Install,
    /// Print the plan and stop.
    Plan,
    /// Do nothing.
    Wait,
    /// Do nothing, for repairs.
    Rescue,
}

/// Value of `metalstrap.config=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigLocation {
    /// `label:NAME`.
    Label(String),
    /// `http://…` or `https://…`, with placeholders.
    Url(String),
}

/// The arguments the installer reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelArgs {
    /// `metalstrap.mode=`.
    pub mode: Mode,
    /// `metalstrap.config=`.
    pub config: Option<ConfigLocation>,
    /// `metalstrap.node=`.
    pub node: Option<String>,
    /// `metalstrap.disk=`.
    pub disk: Option<String>,
    /// `metalstrap.wipe=`.
    pub wipe: Option<String>,
    /// `metalstrap.reinstall=`: the install of this node that is made again instead of started.
    pub reinstall: Option<Uuid>,
    /// `metalstrap.support=`: where a support bundle goes when an install stops, `medium` or a URL.
    pub support: Option<String>,
    /// `metalstrap.skip=`: preflight checks that are left out.
    pub skip: Vec<String>,
    /// `metalstrap.url=`: folder the live files came from.
    pub url: Option<String>,
    /// `metalstrap.halt_if_installed`.
    pub halt_if_installed: bool,
    /// `metalstrap.debug`.
    pub debug: bool,
    /// True when the system runs from a slot of an installed disk.
    pub installed: bool,
    /// Arguments that look like ours and are not.
    pub warnings: Vec<String>,
}

/// Reads `/proc/cmdline` below `sys`.
///
/// # Errors
/// `E_ARGUMENT` for a value that cannot be meant.
pub fn read_kernel_args(sys: &SysRoot) -> Result<KernelArgs, Refusal> {
    parse_kernel_args(&sys.read_raw("/proc/cmdline").unwrap_or_default())
}

/// Reads a kernel command line. Values may be quoted as the kernel allows (`a="b c"`, `"a=b c"`); the last one of a name wins.
///
/// # Errors
/// `E_ARGUMENT` for a value that cannot be meant.
pub fn parse_kernel_args(line: &str) -> Result<KernelArgs, Refusal> {
    let mut args = KernelArgs::default();
    for word in kernel_line::split_words(line) {
        let Some(ours) = word.strip_prefix("metalstrap.") else { continue };
        let (name, value) = ours.split_once('=').map_or((ours, None), |(name, value)| (name, Some(value)));
        take(&mut args, name, value)?;
    }
    Ok(args)
}

fn take(args: &mut KernelArgs, name: &str, value: Option<&str>) -> Result<(), Refusal> {
    match name {
        "mode" => args.mode = parse_mode(required(name, value)?)?,
        "config" => args.config = Some(parse_location(required(name, value)?)?),
        "node" => args.node = Some(required(name, value)?.to_owned()),
        "disk" => args.disk = Some(required(name, value)?.to_owned()),
        "wipe" => args.wipe = Some(required(name, value)?.to_owned()),
        "reinstall" => args.reinstall = Some(parse_install(required(name, value)?)?),
        "skip" => {
            args.skip = split_ids(required(name, value)?);
            ensure_skippable(&args.skip, "metalstrap.skip")?;
        }
        "url" => args.url = Some(required(name, value)?.to_owned()),
        "support" => args.support = Some(parse_support(required(name, value)?)?),
        "slot" => args.installed = true,
        "halt_if_installed" => args.halt_if_installed = parse_switch(name, value)?,
        "debug" => args.debug = parse_switch(name, value)?,
        known if KNOWN.contains(&known) => {}
        unknown => args.warnings.push(render_unknown(unknown)),
    }
    Ok(())
}

fn parse_install(value: &str) -> Result<Uuid, Refusal> {
    value.parse().map_err(|_| {
        let value = sanitise(value);
        refuse(format!(
            "metalstrap.reinstall has the value \"{value}\", expected the id of an install, as in {}",
            Uuid::nil()
        ))
    })
}

fn required<'v>(name: &str, value: Option<&'v str>) -> Result<&'v str, Refusal> {
    value.filter(|v| !v.is_empty()).ok_or_else(|| refuse(format!("metalstrap.{name} needs a value")))
}

fn refuse(message: String) -> Refusal {
    Refusal::new("E_ARGUMENT", ExitCode::InvalidInput, message)
}

fn parse_mode(value: &str) -> Result<Mode, Refusal> {
    match value {
        "install" => Ok(Mode::Install),
        "plan" => Ok(Mode::Plan),
        "wait" => Ok(Mode::Wait),
        "rescue" => Ok(Mode::Rescue),
        other => Err(refuse(format!(
            "metalstrap.mode has the value \"{}\", expected install, plan, wait or rescue",
            sanitise(other)
        ))),
    }
}

fn parse_location(value: &str) -> Result<ConfigLocation, Refusal> {
    if let Some(label) = value.strip_prefix("label:").filter(|label| !label.is_empty()) {
        return Ok(ConfigLocation::Label(label.to_owned()));
    }
    if ["http://", "https://"]
        .iter()
        .any(|scheme| value.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
    {
        return Ok(ConfigLocation::Url(value.to_owned()));
    }
    Err(refuse(format!(
        "metalstrap.config has the value \"{}\", expected http://…, https://… or label:NAME",
        sanitise(value)
    )))
}

fn parse_support(value: &str) -> Result<String, Refusal> {
    if value == "medium" || ["http://", "https://"].iter().any(|scheme| value.starts_with(scheme)) {
        return Ok(value.to_owned());
    }
    let shown = sanitise(value);
    Err(refuse(format!(
        "metalstrap.support has the value \"{shown}\", expected medium, http://… or https://…"
    )))
}

fn parse_switch(name: &str, value: Option<&str>) -> Result<bool, Refusal> {
    kernel_line::parse_switch(value).ok_or_else(|| {
        let value = sanitise(value.unwrap_or_default());
        refuse(format!("metalstrap.{name} has the value \"{value}\", expected 1 or 0"))
    })
}

fn render_unknown(name: &str) -> String {
    let nearest = KNOWN
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= SUGGEST_FROM)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = nearest.map(|(_, known)| format!(", did you mean metalstrap.{known}?")).unwrap_or_default();
    format!("unknown kernel argument metalstrap.{}{hint}", sanitise(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_argument_of_the_installer() {
        let line = "BOOT_IMAGE=/live/vmlinuz boot=metalstrap metalstrap.medium=LABEL=METALSTRAP_ISO metalstrap.mode=plan \
                    metalstrap.config=http://10.0.0.1/c/${mac}.toml metalstrap.node=master-1 metalstrap.disk=\"A B\" \
                    \"metalstrap.wipe=A B\" metalstrap.halt_if_installed metalstrap.debug=0 quiet\n";
        let args = parse_kernel_args(line).unwrap();
        assert_eq!(args.mode, Mode::Plan);
        assert_eq!(args.config, Some(ConfigLocation::Url("http://10.0.0.1/c/${mac}.toml".to_owned())));
        assert_eq!(
            (args.node.as_deref(), args.disk.as_deref(), args.wipe.as_deref()),
            (Some("master-1"), Some("A B"), Some("A B"))
        );
        assert_eq!((args.halt_if_installed, args.debug, args.installed), (true, false, false));
        assert_eq!(args.warnings, Vec::<String>::new());
    }

    #[test]
    fn the_last_value_of_a_name_wins() {
        let args = parse_kernel_args("metalstrap.config=label:ONE metalstrap.config=label:TWO").unwrap();
        assert_eq!(args.config, Some(ConfigLocation::Label("TWO".to_owned())));
        assert_eq!(parse_kernel_args("").unwrap(), KernelArgs::default());
        let args = parse_kernel_args("metalstrap.skip=cpu.cores,ntp.servers").unwrap();
        assert_eq!(args.skip, ["cpu.cores", "ntp.servers"]);
    }

    #[test]
    fn a_misspelt_argument_is_a_warning_with_the_nearest_name() {
        let args = parse_kernel_args("metalstrap.nod=a metalstrap.xyzzy metalstrapnode=b").unwrap();
        assert_eq!(
            args.warnings,
            [
                "unknown kernel argument metalstrap.nod, did you mean metalstrap.node?",
                "unknown kernel argument metalstrap.xyzzy"
            ]
        );
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        let cases = [
            (
                "metalstrap.mode=instal",
                "metalstrap.mode has the value \"instal\", expected install, plan, wait or rescue",
            ),
            ("metalstrap.mode", "metalstrap.mode needs a value"),
            ("metalstrap.wipe=", "metalstrap.wipe needs a value"),
            (
                "metalstrap.reinstall=yes",
                "metalstrap.reinstall has the value \"yes\", expected the id of an install, as in 00000000-0000-0000-0000-000000000000",
            ),
            (
                "metalstrap.support=/dev/sda",
                "metalstrap.support has the value \"/dev/sda\", expected medium, http://… or https://…",
            ),
            ("metalstrap.debug=perhaps", "metalstrap.debug has the value \"perhaps\", expected 1 or 0"),
            (
                "metalstrap.config=ftp://x",
                "metalstrap.config has the value \"ftp://x\", expected http://…, https://… or label:NAME",
            ),
            (
                "metalstrap.skip=cpu.cores,disk.choise",
                "metalstrap.skip names checks that cannot be left out: disk.choise: there is no such check (did you mean `disk.choice`?)",
            ),
            (
                "metalstrap.config=label:",
                "metalstrap.config has the value \"label:\", expected http://…, https://… or label:NAME",
            ),
        ];
        for (line, message) in cases {
            let refusal = parse_kernel_args(line).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.exit, refusal.message.as_str()),
                ("E_ARGUMENT", ExitCode::InvalidInput, message)
            );
        }
    }
}
