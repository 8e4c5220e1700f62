//! A plan for people.

use super::data::PlannedDataDisk;
use super::model::{EspSource, InstallPlan, Step};
use std::fmt::Write as _;

/// The plan as text, about one screen.
pub fn render_text(plan: &InstallPlan) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_text(plan, &mut out);
    out
}

fn write_text(plan: &InstallPlan, out: &mut String) -> std::fmt::Result {
    let node = &plan.node;
    writeln!(out, "node      {} ({}) of cluster {}", node.hostname, node.role, node.cluster)?;
    for interface in &node.interfaces {
        writeln!(out, "          {interface}")?;
    }
    if let Some(image) = &plan.image {
        let k3s = image.k3s.as_deref().unwrap_or("none");
        let double = if image.double { " (test double)" } else { "" };
        writeln!(
            out,
            "image     {} build {}, kernel {}, k3s {k3s}{double}",
            image.version, image.build_id, image.kernel
        )?;
    }
    let disk = &plan.disk;
    writeln!(
        out,
        "disk      {} {} serial {} ({} MiB): {}",
        disk.path,
        disk.model,
        if disk.serial.is_empty() { "unknown" } else { &disk.serial },
        disk.size_bytes / super::layout::MIB,
        disk.reason
    )?;
    for p in &plan.layout.partitions {
        writeln!(
            out,
            "          {} {:<18} {:>8} MiB  sectors {}-{}",
            p.number,
            p.label,
            p.length_bytes / super::layout::MIB,
            p.first_lba,
            p.last_lba
        )?;
    }
    for data in &plan.data_disks {
        write_data_disk(data, out)?;
    }
    for (number, phase) in (1..).zip(&plan.phases) {
        writeln!(out, "phase     ({number}/{}) {}", plan.phases.len(), phase.name)?;
        for step in &phase.steps {
            writeln!(out, "          {}{}", step.name(), step_detail(step))?;
        }
    }
    for file in &plan.files {
        let size = file.length.map_or_else(|| "secret".to_owned(), |n| format!("{n} bytes"));
        writeln!(out, "file      {} {} {size}", file.mode, file.path)?;
    }
    writeln!(out, "enabled   {}", plan.units_enabled.join(" "))?;
    writeln!(out, "masked    {}", plan.units_masked.join(" "))?;
    plan.warnings.iter().try_for_each(|warning| writeln!(out, "warning   {warning}"))
}

fn write_data_disk(data: &PlannedDataDisk, out: &mut String) -> std::fmt::Result {
    let disk = &data.disk;
    writeln!(
        out,
        "data disk {} on {} {} serial {} ({} MiB), {}: {}",
        data.mount,
        disk.path,
        disk.model,
        if disk.serial.is_empty() { "unknown" } else { &disk.serial },
        disk.size_bytes / super::layout::MIB,
        if data.keep { "what is on it is kept" } else { "made anew, everything on it is lost" },
        disk.reason
    )
}

fn step_detail(step: &Step) -> String {
    match step {
        Step::EspFile { path, source, .. } => {
            let source = match source {
                EspSource::Medium { name } => format!("live/{name}"),
                EspSource::Image { path } => path.clone(),
                EspSource::Text { .. } => "the plan".to_owned(),
                EspSource::BootState {} => "a fresh boot state".to_owned(),
            };
            format!(" {path} from {source}")
        }
        Step::CopyArtifact { name, install_to, length, .. } => {
            format!(" {name} to {install_to}, {length} bytes")
        }
        Step::CopyRoot { slot, length, .. } | Step::VerifyRoot { slot, length, .. } => {
            let length = length.map_or_else(|| "length unknown".to_owned(), |n| format!("{n} bytes"));
            format!(" slot {}, {length}", slot.name())
        }
        Step::WriteFiles { count } => format!(" {count} files"),
        Step::CheckDataDisk { mount }
        | Step::WriteDataMark { mount, .. }
        | Step::EraseData { mount, .. }
        | Step::WriteDataTable { mount }
        | Step::WaitDataPartitions { mount }
        | Step::MakeDataFs { mount, .. }
        | Step::RepairData { mount }
        | Step::OpenData { mount }
        | Step::VerifyData { mount }
        | Step::FinishData { mount } => format!(" {mount}"),
        _ => String::new(),
    }
}
