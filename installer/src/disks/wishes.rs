//! What the operator wants of the disk, from the cluster file and the kernel's arguments.

use super::choose::DiskOverrides;
use crate::inventory::{Disk, Inventory, render_size, sanitise};
use crate::plan::data::DataMark;
use profiles::node::{DiskSelector, DiskTransport, matches_glob};
use uuid::Uuid;

/// Where the links by place are; a selector may leave it out.
const BY_PATH_FOLDER: &str = "/dev/disk/by-path/";

/// What a data disk is for.
#[derive(Clone, Debug)]
pub(super) struct DataPurpose {
    /// The mark that data of this very node for this place carries, whichever install made it.
    pub(super) mark: DataMark,
    /// Whether such data is kept.
    pub(super) keep: bool,
    /// Path of the system disk.
    pub(super) system_disk: String,
}

/// What the operator wants, from both sources.
pub(super) struct Wishes {
    selector: DiskSelector,
    /// A consent that counts beside that of the selector.
    second_wipe: Option<String>,
    /// The install that is made again.
    reinstall: Option<Uuid>,
    /// What for; `None` for the system disk.
    data: Option<DataPurpose>,
}

impl Wishes {
    /// `metalstrap.disk` replaces the selector of the cluster file as a whole, `metalstrap.wipe` its consent.
    pub(super) fn new(selector: &DiskSelector, overrides: &DiskOverrides) -> Self {
        let wipe = overrides.wipe.clone().or_else(|| selector.wipe.clone());
        let selector = match &overrides.serial {
            Some(serial) => DiskSelector { serial: Some(serial.clone()), ..DiskSelector::default() },
            None => selector.clone(),
        };
        let reinstall = overrides.reinstall;
        Self { selector: DiskSelector { wipe, ..selector }, second_wipe: None, reinstall, data: None }
    }

    /// For a data disk the selector stands as it is: `metalstrap.disk` is about the system disk. `metalstrap.wipe` names one very disk, and
    /// gives that up whatever it is to become.
    pub(super) fn for_data(selector: &DiskSelector, overrides: &DiskOverrides, data: DataPurpose) -> Self {
        let second_wipe = overrides.wipe.clone();
        Self { selector: selector.clone(), second_wipe, reinstall: None, data: Some(data) }
    }

    /// The purpose, if it is a data disk that is looked for.
    pub(super) fn data(&self) -> Option<&DataPurpose> {
        self.data.as_ref()
    }

    /// True for the disk that the system goes to, when another one is looked for.
    pub(super) fn is_system_disk(&self, disk: &Disk) -> bool {
        self.data.as_ref().is_some_and(|data| data.system_disk == disk.path)
    }

    /// True when the disk carries data of this very node for this very place.
    pub(super) fn is_own_data(&self, disk: &Disk) -> bool {
        let own = self.data.as_ref().zip(disk.data_mark.as_ref());
        own.is_some_and(|(data, mark)| data.mark.is_same_place(mark)) && disk.install_record.is_none()
    }

    /// True when what is on the disk is kept.
    pub(super) fn keeps(&self, disk: &Disk) -> bool {
        self.data.as_ref().is_some_and(|data| data.keep) && self.is_own_data(disk)
    }

    /// The consent.
    pub(super) fn wipe(&self) -> Option<&str> {
        self.selector.wipe.as_deref()
    }

    /// True when a disk on USB is asked for in so many words.
    pub(super) fn wants_usb(&self) -> bool {
        self.selector.transport == Some(DiskTransport::Usb)
    }

    /// The selector in words; `None` when no disk is named.
    pub(super) fn selector_text(&self) -> Option<String> {
        let wanted = &self.selector;
        let parts = [
            ("serial", wanted.serial.clone()),
            ("wwn", wanted.wwn.clone()),
            ("by_path", wanted.by_path.clone()),
            ("size", wanted.size.as_ref().map(ToString::to_string)),
            ("model", wanted.model.clone()),
            ("type", wanted.kind.map(|kind| kind.as_str().to_owned())),
            ("transport", wanted.transport.map(|transport| transport.as_str().to_owned())),
            ("install", self.reinstall.map(|id| id.to_string())),
        ];
        let named =
            parts.into_iter().filter_map(|(key, value)| Some(format!("{key} \"{}\"", sanitise(&value?))));
        let text = named.collect::<Vec<_>>().join(" and ");
        (!text.is_empty()).then_some(text)
    }

    /// What does not fit, in words: none when everything the selector says fits. An empty selector fits every disk.
    pub(super) fn misfits(&self, disk: &Disk) -> Vec<String> {
        let wanted = &self.selector;
        let mut misfits = Vec::new();
        let mut check =
            |name: &str, fits: Option<bool>, has: Option<String>| {
                if fits == Some(false) {
                    misfits.push(has.map_or(format!("it has no {name}"), |has| {
                        format!("its {name} is {}", sanitise(&has))
                    }));
                }
            };
        let exact = |wanted: &Option<String>, has: &Option<String>| wanted.is_some().then_some(wanted == has);
        let globs = |pattern: &Option<String>, has: &Option<String>| {
            let pattern = pattern.as_ref()?;
            Some(has.as_ref().is_some_and(|has| matches_glob(pattern, has)))
        };
        let by_path = wanted.by_path.as_ref().map(|path| path.trim_start_matches(BY_PATH_FOLDER).to_owned());
        check("serial", exact(&wanted.serial, &disk.serial), disk.serial.clone());
        check("wwn", exact(&wanted.wwn, &disk.wwn), disk.wwn.clone());
        check("by_path", globs(&by_path, &disk.by_path), disk.by_path.clone());
        let size = wanted.size.as_ref().map(|size| size.contains(disk.size_bytes));
        check("size", size, Some(format!("{} bytes ({})", disk.size_bytes, render_size(disk.size_bytes))));
        check("model", globs(&wanted.model, &disk.model), disk.model.clone());
        let kind = disk.kind();
        check("type", wanted.kind.map(|wanted| wanted == kind), Some(kind.as_str().to_owned()));
        let transport = wanted.transport.map(|t| disk.transport.as_deref() == Some(t.as_str()));
        check("transport", transport, disk.transport.clone());
        let record = disk.install_record.as_ref().map(|record| record.install_id);
        check("install", self.reinstall.map(|id| record == Some(id)), record.map(|id| id.to_string()));
        misfits
    }

    /// True when the contents of this very disk are given up.
    pub(super) fn gives_up(&self, disk: &Disk, inventory: &Inventory) -> bool {
        let name = consent_name(disk, inventory);
        let by_name = name.is_some() && (name == self.selector.wipe || name == self.second_wipe);
        by_name || self.is_reinstalled(disk)
    }

    /// True for the disk with the install that is made again.
    pub(super) fn is_reinstalled(&self, disk: &Disk) -> bool {
        let record = disk.install_record.as_ref().map(|record| record.install_id);
        record.is_some() && record == self.reinstall
    }
}

/// The name by which an operator gives up what is on a disk: its serial number; where it has none of its own, its WWN; where it has
/// neither, its whole link in `/dev/disk/by-path`. No other disk bears that name in any of the three forms.
pub(super) fn consent_name(disk: &Disk, inventory: &Inventory) -> Option<String> {
    let names = |d: &Disk| {
        let link = d.by_path.as_ref().map(|name| format!("{BY_PATH_FOLDER}{name}"));
        [d.serial.clone(), d.wwn.clone(), link]
    };
    let is_own = |name: &String| {
        inventory.disks.iter().filter(|d| names(d).iter().flatten().any(|other| other == name)).count() == 1
    };
    names(disk).into_iter().flatten().filter(|name| !name.trim().is_empty()).find(is_own)
}
