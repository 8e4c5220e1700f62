//! What the machine says of itself while it runs.

use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use profiles::preflight::{HARDWARE_MESSAGES, HARDWARE_TEMPERATURE, RANDOM_READY};

/// Distance to the critical temperature at which it is time to look.
const CRITICAL_MARGIN: f64 = 10.0;
/// What a sensor without a critical value may show.
const CELSIUS_WARN: f64 = 90.0;
/// Bits the kernel counts once its generator is seeded (Linux 5.18 and later).
const RANDOM_READY_BITS: u32 = 256;

/// `hardware.messages`
pub const MESSAGES: Check = Check {
    id: HARDWARE_MESSAGES,
    class: Class::Hardware,
    title: "The kernel does not complain about the hardware",
    source: "kernel log since boot: `[Hardware Error]`, machine checks, PCIe errors, I/O errors",
    limits: "one such line: warning",
    why: "a machine that reports errors while idle will report more under load",
    remedy: "read them (`dmesg --level=err,crit,alert,emerg`); look for a fan, a module, a cable",
    codes: &[],
    during_install: false,
    judge: |input| {
        let errors = &known(&input.facts.messages)?.hardware_errors;
        Ok(match errors.as_slice() {
            [] => Finding::pass("no complaint"),
            [only] => Finding::warn(only.clone()),
            [first, others @ ..] => Finding::warn(format!("{first} (and {} more)", others.len())),
        })
    },
};

/// `hardware.temperature`
pub const TEMPERATURE: Check = Check {
    id: HARDWARE_TEMPERATURE,
    class: Class::Hardware,
    title: "Nothing in the machine is too hot",
    source: "`/sys/class/hwmon/*/temp*_input` and `temp*_crit`",
    limits: "within 10 °C of the critical value, or over 90 °C where there is none: warning",
    why: "a machine that is hot while idle slows down or switches off under load",
    remedy: "look at fans, dust and the air in the rack",
    codes: &[],
    during_install: false,
    judge: temperature,
};

fn temperature(input: &Input<'_>) -> Judged {
    let sensors = known(&input.facts.sensors)?;
    let Some(hottest) = sensors.iter().max_by(|a, b| a.celsius.total_cmp(&b.celsius)) else {
        return match input.is_virtual() {
            true => Ok(Finding::not_applicable("a virtual machine has no sensors")),
            false => Err(NotRun::new("no sensor tells a temperature")),
        };
    };
    let limit = |critical: Option<f64>| critical.map_or(CELSIUS_WARN, |critical| critical - CRITICAL_MARGIN);
    let hot: Vec<String> = sensors
        .iter()
        .filter(|s| s.celsius >= limit(s.critical))
        .map(|s| format!("{} {:.0} °C", s.name, s.celsius))
        .collect();
    Ok(match hot.as_slice() {
        [] => Finding::pass(format!("{:.0} °C at most ({})", hottest.celsius, hottest.name)),
        hot => Finding::warn(hot.join(", ")),
    })
}

/// `random.ready`
pub const RANDOM: Check = Check {
    id: RANDOM_READY,
    class: Class::Hardware,
    title: "The kernel has randomness for keys",
    source: "`/proc/sys/kernel/random/entropy_avail`",
    limits: "fewer than 256 bits: warning",
    why: "keys and tokens wait until there is enough: the install seems to hang",
    remedy: "give the virtual machine a random number device (virtio-rng); on old hardware wait or type",
    codes: &[],
    during_install: false,
    judge: |input| {
        let bits = *known(&input.facts.random_bits)?;
        let text = format!("{bits} bits");
        Ok(if bits < RANDOM_READY_BITS { Finding::warn(text) } else { Finding::pass(text) })
    },
};
