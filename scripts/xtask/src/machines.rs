//! What `test`, `demo` and `bench` share: an image, and a place and a voice for the machines that boot it.

use crate::artefacts::read_pins;
use crate::demo::warn_of_double;
use crate::failure::{CommandResult, DOWNLOAD, code_of};
use crate::image::{self, BuiltImage, ImageArgs};
use crate::{host, pins};
use ::tests::scenarios::{Context, Image};
use ::tests::serial::SerialLine;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Name of the hidden command that serves one HTTP request to a guest.
pub const SERVE_FOLDER: &str = "serve-folder";

/// Serves one request on standard input and output from the first of `folders` that has the file.
///
/// # Errors
/// The guest hangs up.
pub fn serve_folder(folders: &[PathBuf]) -> CommandResult {
    ::tests::httpd::serve(folders, std::io::stdin().lock(), std::io::stdout().lock())
}

/// Builds the test image, with the double in the place of k3s.
///
/// # Errors
/// As [`image::build`].
pub fn build_double() -> Result<Image> {
    let built = image::build(&ImageArgs { double: true, ..ImageArgs::default() })?;
    Ok(scenario_image(built, true))
}

/// Builds the test image, and again from nothing, and compares.
///
/// # Errors
/// As [`image::run`].
pub fn ensure_reproducible() -> CommandResult {
    image::run(&ImageArgs { double: true, check_reproducible: true, ..ImageArgs::default() })
}

/// Builds the real image where the artefacts can be had; else says why not, loudly, and builds that with the double.
///
/// # Errors
/// As [`image::build`]. With a folder of artefacts there is no way around them: what is wrong with them is the error.
pub fn build_real_or_double(artifacts: Option<&Path>) -> Result<Image> {
    let why = match read_pins(&pins::shipped())?.ensure_filled() {
        Err(error) => format!("images/pins.toml: {error} (`cargo xtask pins update` fills it)"),
        Ok(()) => {
            let arguments = ImageArgs { artifacts: artifacts.map(Path::to_path_buf), ..ImageArgs::default() };
            match image::build(&arguments) {
                Ok(built) => return Ok(scenario_image(built, false)),
                Err(error) if artifacts.is_none() && code_of(&error) == DOWNLOAD => format!("{error:#}"),
                Err(error) => return Err(error),
            }
        }
    };
    if artifacts.is_some() {
        anyhow::bail!("the artefacts in the folder cannot be verified: {why}");
    }
    eprintln!("The k3s artefacts cannot be had: {why}");
    warn_of_double();
    build_double()
}

fn scenario_image(built: BuiltImage, double: bool) -> Image {
    Image { iso: built.iso, live: built.pxe.join("live"), pxe: built.pxe, double }
}

/// The program `metalstrap` as the image build has made it; it runs on this machine as well.
///
/// # Errors
/// It has not been built.
pub fn metalstrap() -> Result<PathBuf> {
    let program = host::target().join("release/metalstrap");
    anyhow::ensure!(program.is_file(), "{} is not there: no image was built", program.display());
    Ok(program)
}

/// The context of the scenarios for an image.
///
/// # Errors
/// A file of this checkout cannot be read, or the accelerator asked for does not exist.
pub fn context(image: Image) -> Result<Context> {
    let work = host::target().join("vm");
    std::fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let work = work.canonicalize()?;
    // A copy: the build of a test step replaces the file this process was started from.
    let server = work.join("xtask");
    if server.exists() {
        std::fs::remove_file(&server)?;
    }
    std::fs::copy("/proc/self/exe", &server).context("copying this program")?;
    Ok(Context {
        image,
        single: example("single.toml")?,
        ha: example("ha.toml")?,
        bonded: example("bonded.toml")?,
        work,
        web_server: vec![server, PathBuf::from(SERVE_FOLDER)],
        accel: ::tests::accel::detect()?,
        echo: show_line,
    })
}

fn example(name: &str) -> Result<String> {
    let path = host::workspace().join("profiles/examples").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// Shows the lines of a machine that are ours, with the seconds since power-on.
fn show_line(line: &SerialLine) {
    if is_ours(&line.text) {
        eprintln!("  {:7.1} s  {}", line.secs, line.text);
    }
}

/// A login prompt may stand before what a service says.
fn is_ours(text: &str) -> bool {
    ["metalstrap: ", "metalstrap-agent: ", "K3S DOUBLE", "TESTKIT ", "CASE "]
        .iter()
        .any(|word| text.contains(word))
        && !text.contains("systemd[1]: ")
}

/// Now; for durations that are shown to a person.
#[expect(clippy::disallowed_methods, reason = "xtask runs on the build host, not on a node")]
pub fn now() -> Instant {
    Instant::now()
}

/// Length of a file in MB (10^6 bytes), as download sizes are told.
///
/// # Errors
/// There is no such file.
pub fn megabytes(file: &Path) -> Result<f64> {
    let length = std::fs::metadata(file).with_context(|| format!("reading {}", file.display()))?.len();
    Ok(length as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn shows_our_lines_and_hides_the_kernels() {
        assert!(is_ours("metalstrap: phase (1/9) partition table"));
        assert!(is_ours("metalstrap-agent: master-1 healthy, 12 checks ok"));
        assert!(is_ours("master-1 login: metalstrap-agent: master-1 healthy, 12 checks ok"));
        assert!(!is_ours("[    1.2] Linux version 6.1"));
        assert!(!is_ours("[  OK  ] Started metalstrap-agent.service"));
    }
}
