//! What the installer says: the lines of the contract, to standard output and to every console of the machine.

mod lines;
mod progress;
mod screen;

pub use lines::{
    render_advice, render_done, render_handover, render_installed, render_phase, render_refused,
    render_stopped, render_warning,
};
pub use progress::Progress;
pub use screen::{Lines, MachineScreen, Recorder};
