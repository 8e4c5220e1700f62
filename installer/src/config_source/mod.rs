//! Where the cluster file comes from, in the live system: the kernel's arguments, a volume, the boot medium.
//!
//! The search is pure over [`World`]; [`LiveWorld`] is the machine itself.

mod arguments;
mod live;
mod load;
mod placeholders;
mod search;
#[cfg(test)]
mod tests;

pub use arguments::{ConfigLocation, KernelArgs, Mode, parse_kernel_args, read_kernel_args};
pub use live::LiveWorld;
pub use load::load_found;
pub use placeholders::fill_placeholders;
pub use search::{FoundConfig, World, find_config};

/// A cluster file of 300 nodes has some 60 KiB; more than this is none.
pub const CONFIG_MAX_BYTES: u64 = 1 << 20;

/// How much of a file is read: one byte more, by which the validation sees that it is too long (`E_FILE_TOO_LARGE`).
pub const CONFIG_READ_BYTES: u64 = CONFIG_MAX_BYTES + 1;

/// Name of the secrets file beside the cluster file.
pub const SECRETS_NAME: &str = "secrets.toml";

/// Where the cluster file is looked for on a volume, in this order.
pub const CONFIG_PATHS: [&str; 2] = ["metalstrap/cluster.toml", "cluster.toml"];
