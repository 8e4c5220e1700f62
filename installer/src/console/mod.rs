//! What the installer says: the lines of the contract, to standard output and to every console of the machine.

mod dialog;
mod lines;
mod operator;
mod portrait;
mod progress;
mod screen;

pub use dialog::{Answers, NetworkAnswer, ask_network_and_url};
pub use lines::{
    render_advice, render_done, render_halt, render_handover, render_installed, render_phase, render_refused,
    render_stopped, render_warning,
};
pub use operator::{ConsoleOperator, Operator, Script};
pub use portrait::render_portrait;
pub use progress::Progress;
pub use screen::{Lines, MachineScreen, Recorder};
