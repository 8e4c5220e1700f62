//! The kubelet-like loop: static pods. Only the kube-vip pod can run; it becomes a process of its own.

use crate::config::Settings;
use crate::files::Paths;
use crate::images::Images;
use crate::kubevip::{self, VipEnv};
use crate::{files, log, netif};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The static pods of one node.
pub struct Kubelet {
    paths: Paths,
    node_name: String,
    kubeconfig: String,
    images: Images,
    running: Option<Running>,
    said: BTreeSet<String>,
}

/// The kube-vip stand-in that runs now.
struct Running {
    pid: i32,
    /// Hash of the manifest it was started from.
    hash: String,
    /// `None` when it was started by an earlier k3s.
    child: Option<Child>,
}

/// Why a pod does not run.
struct Waiting {
    reason: &'static str,
    message: String,
}

impl Waiting {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl Kubelet {
    /// Begins with the imported images; adopts a kube-vip that an earlier k3s left running.
    ///
    /// # Errors
    /// The folder of static pods cannot be made.
    pub fn new(settings: &Settings, images: Images) -> Result<Self> {
        files::make_dir(&settings.paths.agent("pod-manifests"))?;
        let running = adopt(&settings.paths);
        Ok(Self {
            paths: settings.paths.clone(),
            node_name: settings.node_name.clone(),
            kubeconfig: settings.paths.kubeconfig().display().to_string(),
            images,
            running,
            said: BTreeSet::new(),
        })
    }

    /// One turn: starts, restarts and stops what the manifests say. Gives the mirror pods.
    pub async fn sync(&mut self) -> Vec<Value> {
        let mut pods = Vec::new();
        let mut wanted = false;
        for path in manifests(&self.paths.agent("pod-manifests")) {
            let text = match files::read(&path) {
                Ok(text) => text,
                Err(error) => {
                    self.say(format!("{error:#}"));
                    continue;
                }
            };
            let pod: Value = match serde_yaml_ng::from_str(&text) {
                Ok(pod) => pod,
                Err(error) => {
                    self.say(format!("{}: not a pod: {error}", path.display()));
                    continue;
                }
            };
            let hash = hex::encode(Sha256::digest(&text));
            let state = match self.admit(&pod) {
                Ok(env) => {
                    wanted = true;
                    self.ensure_running(&env, &hash)
                }
                Err(waiting) => Err(waiting),
            };
            pods.push(self.mirror(&pod, state.as_ref().err()));
            if let Err(waiting) = state {
                self.say(format!("{}: {}: {}", path.display(), waiting.reason, waiting.message));
            }
        }
        if !wanted {
            self.stop();
        }
        pods
    }

    /// Says a thing once.
    fn say(&mut self, message: String) {
        if self.said.insert(message.clone()) {
            log(message);
        }
    }

    /// Everything that must hold before a kubelet and kube-vip v0.8.7 would run the pod (reference, section 3).
    fn admit(&self, pod: &Value) -> Result<VipEnv, Waiting> {
        let spec = &pod["spec"];
        let container = &spec["containers"][0];
        let image = container["image"].as_str().unwrap_or_default();
        if !image.contains("kube-vip/kube-vip:") {
            return Err(Waiting::new(
                "NotEmulated",
                format!("the k3s double runs kube-vip only, not {image:?}"),
            ));
        }
        if !self.images.has(image) {
            let reason = if container["imagePullPolicy"] == "Never" {
                "ErrImageNeverPull"
            } else {
                "ImagePullBackOff"
            };
            return Err(Waiting::new(
                reason,
                format!("image {image} is not among the imported images, and there is no registry"),
            ));
        }
        let crash = |message: &str| Err(Waiting::new("CrashLoopBackOff", message));
        if spec["hostNetwork"] != true {
            return crash("hostNetwork is not true");
        }
        let capabilities: Vec<&str> = container["securityContext"]["capabilities"]["add"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !["NET_ADMIN", "NET_RAW"].iter().all(|c| capabilities.contains(c)) {
            return crash("capabilities NET_ADMIN and NET_RAW are not added");
        }
        let mount = container["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|m| m["mountPath"] == "/etc/kubernetes/admin.conf");
        let Some(mount) = mount else {
            return crash(
                "nothing is mounted at /etc/kubernetes/admin.conf: open /var/run/secrets/kubernetes.io/serviceaccount/token: no such file or directory",
            );
        };
        let volume = spec["volumes"].as_array().into_iter().flatten().find(|v| v["name"] == mount["name"]);
        let host_path = volume.map(|v| &v["hostPath"]).filter(|h| h.is_object());
        let Some(host_path) = host_path else {
            return crash("the volume of /etc/kubernetes/admin.conf is no hostPath");
        };
        let file = host_path["path"].as_str().unwrap_or_default();
        if host_path["type"] != "File" {
            return Err(Waiting::new(
                "NotEmulated",
                format!("hostPath {file} has no type File; the runtime would make a folder there"),
            ));
        }
        if !self.paths.at(file).is_file() {
            return Err(Waiting::new(
                "ContainerCreating",
                format!("hostPath type check failed: {file} is not a file"),
            ));
        }
        let alias = spec["hostAliases"].as_array().into_iter().flatten().any(|a| {
            a["ip"] == "127.0.0.1"
                && a["hostnames"].as_array().is_some_and(|n| n.iter().any(|n| n == "kubernetes"))
        });
        if !alias {
            return crash("no hostAlias 127.0.0.1 kubernetes: lookup kubernetes: no such host");
        }
        let env = environment(container, &self.node_name);
        let kubeconfig = self.paths.at(file).display().to_string();
        let vip = VipEnv::parse(&env, &kubeconfig).map_err(|e| Waiting::new("CrashLoopBackOff", e))?;
        if netif::index(&vip.interface).is_none() {
            return crash(&format!("interface {} does not exist", vip.interface));
        }
        Ok(vip)
    }

    fn ensure_running(&mut self, env: &VipEnv, hash: &str) -> Result<(), Waiting> {
        if let Some(running) = &mut self.running {
            let alive = match &mut running.child {
                Some(child) => matches!(child.try_wait(), Ok(None)),
                None => is_kube_vip(running.pid),
            };
            if alive && running.hash == hash {
                return Ok(());
            }
            if alive {
                self.stop();
            } else {
                log("kube-vip stand-in ended, starting it again");
            }
        }
        self.running = None;
        let failed = |e: String| Waiting::new("CrashLoopBackOff", e);
        let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
        let child = Command::new(program)
            .arg(kubevip::SUBCOMMAND)
            .envs(env.to_environment())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|e| failed(e.to_string()))?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        files::write(&self.paths.kube_vip_pid(), 0o644, format!("{pid} {hash}\n").as_bytes())
            .map_err(|e| failed(format!("{e:#}")))?;
        self.running = Some(Running { pid, hash: hash.to_owned(), child: Some(child) });
        log(format!("kube-vip stand-in started, kubeconfig {}", self.kubeconfig));
        Ok(())
    }

    /// Ends the kube-vip stand-in, which then gives the address back.
    fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        log("stopping the kube-vip stand-in");
        if let Err(error) =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid), nix::sys::signal::Signal::SIGTERM)
        {
            log(format!("ending the kube-vip stand-in: {error}"));
        }
        if let Some(child) = &mut running.child {
            // It ends by itself after SIGTERM; this only takes its status.
            drop(child.wait());
        }
    }

    fn mirror(&self, pod: &Value, waiting: Option<&Waiting>) -> Value {
        let name = pod["metadata"]["name"].as_str().unwrap_or("unnamed");
        let container = &pod["spec"]["containers"][0];
        let state = match waiting {
            None => json!({"running": {}}),
            Some(w) => json!({"waiting": {"reason": w.reason, "message": w.message}}),
        };
        let phase = if waiting.is_none() { "Running" } else { "Pending" };
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{name}-{}", self.node_name), "namespace": pod["metadata"]["namespace"].as_str().unwrap_or("default"),
                "annotations": {"kubernetes.io/config.source": "file"}},
            "spec": {"nodeName": self.node_name, "containers": [{"name": container["name"], "image": container["image"]}]},
            "status": {"phase": phase, "containerStatuses": [{"name": container["name"], "ready": waiting.is_none(), "state": state}]}})
    }
}

fn manifests(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).map(|e| e.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    found.retain(|p| p.is_file() && p.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.')));
    found.sort();
    found
}

fn environment(container: &Value, node_name: &str) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for item in container["env"].as_array().into_iter().flatten() {
        let Some(name) = item["name"].as_str() else { continue };
        let from_node = item["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName";
        let value = if from_node { node_name } else { item["value"].as_str().unwrap_or_default() };
        map.insert(name.to_owned(), value.to_owned());
    }
    map
}

fn is_kube_vip(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|b| *b == 0).any(|a| a == kubevip::SUBCOMMAND.as_bytes()))
}

fn adopt(paths: &Paths) -> Option<Running> {
    let text = std::fs::read_to_string(paths.kube_vip_pid()).ok()?;
    let (pid, hash) = text.trim().split_once(' ')?;
    let pid = pid.parse().context("pid").ok()?;
    is_kube_vip(pid).then(|| Running { pid, hash: hash.to_owned(), child: None })
}
