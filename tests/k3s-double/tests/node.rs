//! The double as k3s: real ports in network namespaces.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use support::{K3s, Machine, PROGRAM, wait};

const SERVER: &str = "cluster-init: true\nnode-name: m1\nnode-ip: 10.0.0.11\nflannel-iface: cluster0\ntls-san: [10.0.0.10]\n\
    token-file: /etc/rancher/k3s/server-token\nagent-token-file: /etc/rancher/k3s/agent-token\n\
    node-taint: [\"node-role.kubernetes.io/control-plane=true:NoSchedule\"]\nnode-label: [metalstrap.dev/role=master]\n";

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: kube-vip, namespace: kube-system }
spec:
  hostNetwork: true
  containers:
  - name: kube-vip
    image: ghcr.io/kube-vip/kube-vip:v0.8.7
    imagePullPolicy: IfNotPresent
    args: ["manager"]
    env:
    - { name: vip_arp, value: "true" }
    - { name: port, value: "6443" }
    - { name: vip_interface, value: cluster0 }
    - { name: vip_cidr, value: "32" }
    - { name: cp_enable, value: "true" }
    - { name: cp_namespace, value: kube-system }
    - { name: vip_leaderelection, value: "true" }
    - { name: vip_leaseduration, value: "4" }
    - { name: vip_renewdeadline, value: "2" }
    - { name: vip_retryperiod, value: "1" }
    - { name: address, value: 10.0.0.10 }
    - { name: vip_nodename, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }
    securityContext: { capabilities: { add: [NET_ADMIN, NET_RAW] } }
    volumeMounts:
    - { name: kubeconfig, mountPath: /etc/kubernetes/admin.conf, readOnly: true }
  hostAliases:
  - { ip: 127.0.0.1, hostnames: [kubernetes] }
  volumes:
  - name: kubeconfig
    hostPath: { path: /etc/rancher/k3s/k3s.yaml, type: File }
"#;

const MANIFEST: &str = "/var/lib/rancher/k3s/agent/pod-manifests/kube-vip.yaml";

fn configure_server(machine: &Machine) {
    machine.write("/etc/rancher/k3s/config.yaml", 0o600, SERVER);
    machine.write("/etc/rancher/k3s/server-token", 0o600, "server-secret\n");
    machine.write("/etc/rancher/k3s/agent-token", 0o600, "agent-secret\n");
}

fn images(machine: &Machine) {
    let folder = machine.path("/var/lib/rancher/k3s/agent/images");
    machine.run(PROGRAM, &["make-artifacts", folder.to_str().unwrap()]);
}

fn has_vip(machine: &Machine) -> bool {
    machine.run("ip", &["-4", "-oneline", "addr", "show", "dev", "cluster0"]).contains("inet 10.0.0.10/32")
}

fn condition<'a>(node: &'a serde_json::Value, kind: &str) -> &'a str {
    let all = node["status"]["conditions"].as_array().unwrap();
    all.iter().find(|c| c["type"] == kind).and_then(|c| c["status"].as_str()).unwrap_or("missing")
}

fn running_server(machine: &Machine) -> K3s {
    configure_server(machine);
    let k3s = machine.start("server", &[]);
    k3s.ready();
    wait("the voter", || {
        machine.output(PROGRAM, &["kubectl", "get", "nodes", "m1"]).status.success()
            && condition(&machine.api("/api/v1/nodes/m1"), "EtcdIsVoter") == "True"
    });
    k3s
}

#[test]
fn answers_anonymous_and_authenticated_callers_as_k3s_does() {
    let machine = Machine::alone("10.0.0.11/22");
    let _k3s = running_server(&machine);
    let get = |path: &str, args: &[&str]| machine.curl(&format!("https://127.0.0.1:6443{path}"), args);
    assert_eq!(get("/ping", &[]), (200, "pong".into()));
    assert_eq!(get("/cacerts", &[]), (200, machine.read("/var/lib/rancher/k3s/server/tls/server-ca.crt")));
    for path in ["/readyz", "/livez", "/healthz", "/version", "/api/v1/nodes", "/nonsense"] {
        let (status, body) = get(path, &[]);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, body["kind"].as_str(), body["reason"].as_str()),
            (401, Some("Status"), Some("Unauthorized")),
            "{path}"
        );
    }
    assert_eq!(machine.run(PROGRAM, &["kubectl", "get", "--raw=/readyz"]), "ok");
    assert!(
        machine
            .run(PROGRAM, &["kubectl", "get", "--raw", "/readyz?verbose"])
            .ends_with("readyz check passed\n")
    );
    assert_eq!(machine.curl("http://127.0.0.1:10248/healthz", &[]), (200, "ok".into()));
    assert_eq!(machine.curl("http://127.0.0.1:10256/healthz", &[]).0, 200);
    assert_eq!(
        machine.curl("http://127.0.0.1:2381/health", &[]),
        (200, "{\"health\":\"true\",\"reason\":\"\"}".into())
    );
    assert_eq!(machine.curl("https://127.0.0.1:10250/healthz", &[]).0, 401);
    assert_eq!(machine.curl("https://127.0.0.1:6444/ping", &[]).0, 401, "6444 is the API server alone");
    assert_eq!(get("/v1-k3s/config", &[]).0, 401);
    assert_eq!(get("/v1-k3s/config", &["--user", "node:wrong"]).0, 401);
    assert_eq!(get("/v1-k3s/config", &["--user", "node:server-secret"]).0, 401, "the agent token is set");
    assert_eq!(get("/v1-k3s/config", &["--user", "node:agent-secret"]).0, 200);
    assert_eq!(get("/v1-k3s/config", &["--user", "server:server-secret"]).0, 403);
    assert_eq!(get("/v1-k3s/encrypt/status", &["--user", "node:agent-secret"]).0, 403);
    assert_eq!(get("/v1-k3s/readyz", &["--user", "node:agent-secret"]), (200, "ok".into()));
    assert_eq!(
        get("/v1-k3s/apiservers", &["--user", "node:agent-secret"]),
        (200, "[\"10.0.0.11:6443\"]".into())
    );
    let rejected = get(
        "/v1-k3s/client-kubelet.crt",
        &["--user", "node:agent-secret", "-H", "k3s-Node-Name: m1", "-H", "k3s-Node-Password: other"],
    );
    assert_eq!(rejected.0, 403);
    assert!(rejected.1.contains("Node password rejected"), "{}", rejected.1);
    assert_ne!(
        machine
            .output("curl", &["--silent", "--cacert", "/dev/null", "https://127.0.0.1:6443/ping"])
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn lays_down_the_files_of_a_server() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::alone("10.0.0.11/22");
    let _k3s = running_server(&machine);
    let ca = machine.path("/var/lib/rancher/k3s/server/tls/server-ca.crt");
    let sum = machine.run("sha256sum", &[ca.to_str().unwrap()]);
    let token = machine.read("/var/lib/rancher/k3s/server/node-token");
    assert_eq!(token, format!("K10{}::server:server-secret\n", &sum[..64]));
    for file in [
        "/var/lib/rancher/k3s/server/token",
        "/var/lib/rancher/k3s/server/agent-token",
        "/etc/rancher/k3s/k3s.yaml",
        "/etc/rancher/node/password",
        "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
    ] {
        assert_eq!(
            std::fs::metadata(machine.path(file)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{file}"
        );
    }
    assert!(machine.read("/etc/rancher/k3s/k3s.yaml").contains("server: https://127.0.0.1:6443\n"));
    let cert = machine.path("/var/lib/rancher/k3s/server/tls/serving-kube-apiserver.crt");
    let sans =
        machine.run("openssl", &["x509", "-noout", "-ext", "subjectAltName", "-in", cert.to_str().unwrap()]);
    assert!(
        sans.contains("IP Address:10.0.0.10")
            && sans.contains("IP Address:10.43.0.1")
            && sans.contains("DNS:kubernetes,"),
        "{sans}"
    );
    assert!(!sans.contains("10.0.0.12"), "{sans}");
}

#[test]
fn a_kubelet_may_patch_its_own_status_and_nothing_of_others() {
    let machine = Machine::alone("10.0.0.11/22");
    let _k3s = running_server(&machine);
    let agent =
        |name: &str| machine.path(&format!("/var/lib/rancher/k3s/agent/{name}")).to_str().unwrap().to_owned();
    let (cert, key) = (agent("client-kubelet.crt"), agent("client-kubelet.key"));
    let call = |method: &str, path: &str, body: &str| {
        machine.curl(
            &format!("https://127.0.0.1:6443{path}"),
            &[
                "--cert",
                &cert,
                "--key",
                &key,
                "-X",
                method,
                "-H",
                "content-type: application/strategic-merge-patch+json",
                "--data",
                body,
            ],
        )
    };
    let patch = r#"{"status":{"conditions":[{"type":"MetalstrapHealthy","status":"True"}]}}"#;
    assert_eq!(call("PATCH", "/api/v1/nodes/m1/status", patch).0, 200);
    let node = machine.api("/api/v1/nodes/m1");
    assert_eq!(condition(&node, "MetalstrapHealthy"), "True");
    assert_eq!(condition(&node, "Ready"), "True");
    assert_eq!(node["metadata"]["labels"]["metalstrap.dev/role"], "master");
    assert_eq!(node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"], "true");
    assert_eq!(node["spec"]["taints"][0]["effect"], "NoSchedule");
    assert_eq!(
        machine.api("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/m1")["spec"]["leaseDurationSeconds"],
        40
    );
    let (status, body) = call("PATCH", "/api/v1/nodes/other/status", patch);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 403);
    assert_eq!(
        body["message"],
        "nodes \"other\" is forbidden: User \"system:node:m1\" cannot patch resource \"nodes/status\" in API group \"\" at the cluster scope"
    );
    assert_eq!(call("PATCH", "/api/v1/nodes/m1", r#"{"spec":{"taints":null}}"#).0, 403);
    assert_eq!(
        call("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/plndr-cp-lock", "").0,
        403
    );
    let event =
        r#"{"metadata":{"generateName":"m1."},"reason":"Test","involvedObject":{"kind":"Node","name":"m1"}}"#;
    assert_eq!(call("POST", "/api/v1/namespaces/default/events", event).0, 201);
    let stale = r#"{"metadata":{"name":"m1","resourceVersion":"1"},"spec":{}}"#;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/m1";
    assert_eq!(call("PUT", lease, stale).0, 409);
}

#[test]
fn kube_vip_holds_the_address_and_gives_it_back_after_the_server_stops() {
    let machine = Machine::alone("10.0.0.11/22");
    images(&machine);
    machine.write(MANIFEST, 0o600, POD);
    machine.write("/var/lib/rancher/k3s/agent/images/broken.tar", 0o644, "not an archive");
    assert!(!has_vip(&machine));
    let k3s = running_server(&machine);
    wait("the VIP", || has_vip(&machine));
    assert_eq!(machine.curl("https://10.0.0.10:6443/ping", &[]), (200, "pong".into()));
    let lease = machine.api("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/plndr-cp-lock");
    assert_eq!(lease["spec"]["holderIdentity"], "m1");
    assert!(machine.log().contains("broken.tar: reading the archive"), "a broken archive is logged");
    let before = machine.api("/api/v1/nodes/m1")["metadata"]["uid"].clone();
    k3s.stop();
    assert!(has_vip(&machine), "kube-vip outlives k3s until its renew deadline");
    wait("the VIP to go", || !has_vip(&machine));
    let k3s = machine.start("server", &[]);
    k3s.ready();
    assert_eq!(machine.api("/api/v1/nodes/m1")["metadata"]["uid"], before, "objects survive a restart");
    wait("the VIP again", || has_vip(&machine));
    std::fs::remove_file(machine.path(MANIFEST)).unwrap();
    wait("the VIP to go with the manifest", || !has_vip(&machine));
}

#[test]
fn without_the_image_there_is_no_address() {
    let machine = Machine::alone("10.0.0.11/22");
    machine.write(MANIFEST, 0o600, POD);
    let _k3s = running_server(&machine);
    let pods = "/api/v1/namespaces/kube-system/pods";
    wait("the mirror pod", || machine.api(pods)["items"].as_array().is_some_and(|i| !i.is_empty()));
    let state = machine.api(pods)["items"][0]["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    assert_eq!(state["reason"], "ImagePullBackOff");
    assert!(!has_vip(&machine));
}

#[test]
fn answers_503_until_the_api_server_runs() {
    let machine = Machine::alone("10.0.0.11/22");
    configure_server(&machine);
    machine.write("/hold", 0o600, "");
    let hold = machine.path("/hold");
    let k3s = machine.start("server", &[("K3S_DOUBLE_HOLD_API", hold.to_str().unwrap())]);
    wait("the listener", || machine.curl("https://127.0.0.1:6443/ping", &[]).0 == 200);
    assert_eq!(machine.curl("https://127.0.0.1:6443/readyz", &[]).0, 503);
    std::fs::remove_file(hold).unwrap();
    k3s.ready();
    assert_eq!(machine.curl("https://127.0.0.1:6443/readyz", &[]).0, 401);
}

#[test]
fn an_agent_joins_with_the_right_token_only() {
    let (server, agent) = Machine::pair("10.0.0.11/22", "10.0.0.21/22");
    let _k3s = running_server(&server);
    let join = |token: &str| {
        agent.write("/etc/rancher/k3s/join", 0o600, token);
        let base = "server: https://10.0.0.11:6443\nnode-name: w1\nnode-ip: 10.0.0.21\ntoken-file: /etc/rancher/k3s/join\n";
        agent.write("/etc/rancher/k3s/config.yaml", 0o600, base);
        agent.start("agent", &[])
    };
    let wrong = join("wrong-secret");
    wait("the refusal", || agent.log().contains("/v1-k3s/config: status 401: not authorized"));
    drop(wrong);
    let secure = server.read("/var/lib/rancher/k3s/server/agent-token");
    let foreign = join(&format!("K10{}::node:agent-secret", "a".repeat(64)));
    wait("the foreign CA", || {
        agent.log().contains("token CA hash does not match the Cluster CA certificate hash")
    });
    drop(foreign);
    assert_eq!(server.api("/api/v1/nodes")["items"].as_array().unwrap().len(), 1);
    let k3s = join(&secure);
    k3s.ready();
    let node = server.api("/api/v1/nodes/w1");
    assert_eq!(node["status"]["addresses"][0]["address"], "10.0.0.21");
    assert_eq!(
        agent.curl("https://127.0.0.1:6444/ping", &[]),
        (200, "pong".into()),
        "through the local balancer"
    );
    k3s.stop();
    std::fs::remove_file(agent.path("/etc/rancher/node/password")).unwrap();
    let reinstalled = join(&secure);
    wait("the rejection", || agent.log().contains("Node password rejected"));
    drop(reinstalled);
    let bootstrap = server.run(PROGRAM, &["token", "create", "--ttl", "1h"]);
    let admin = |name: &str| {
        server.path(&format!("/var/lib/rancher/k3s/server/tls/{name}")).to_str().unwrap().to_owned()
    };
    let deleted = server.curl(
        "https://127.0.0.1:6443/api/v1/nodes/w1",
        &["-X", "DELETE", "--cert", &admin("client-admin.crt"), "--key", &admin("client-admin.key")],
    );
    assert_eq!(deleted.0, 200);
    join(&bootstrap).ready();
}

#[test]
fn a_second_server_joins_becomes_a_voter_and_its_loss_costs_the_majority() {
    let (first, second) = Machine::pair("10.0.0.11/22", "10.0.0.12/22");
    let _k3s = running_server(&first);
    second.write("/etc/rancher/k3s/token", 0o600, &first.read("/var/lib/rancher/k3s/server/token"));
    let base = "server: https://10.0.0.11:6443\nnode-name: m2\nnode-ip: 10.0.0.12\ntoken-file: /etc/rancher/k3s/token\n";
    second.write("/etc/rancher/k3s/config.yaml", 0o600, &format!("{base}cluster-domain: other\n"));
    let output = second.output(PROGRAM, &["server"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("critical configuration mismatch: cluster-domain is \"other\" here and \"cluster.local\" on the server to join"), "{said}");
    second.write("/etc/rancher/k3s/config.yaml", 0o600, base);
    let k3s = second.start("server", &[]);
    k3s.ready();
    wait("the second voter", || {
        second.output(PROGRAM, &["kubectl", "get", "node", "m2"]).status.success()
            && condition(&second.api("/api/v1/nodes/m2"), "EtcdIsVoter") == "True"
    });
    k3s.stop();
    wait("the majority to be lost", || first.curl("https://127.0.0.1:6443/readyz", &[]).0 == 503);
    assert_eq!(first.curl("http://127.0.0.1:2381/health", &[]).0, 503);
    let k3s = second.start("server", &[]);
    wait("the majority again", || first.curl("https://127.0.0.1:6443/readyz", &[]).0 == 401);
    k3s.ready();
}

#[test]
fn takes_placed_authorities_and_a_secure_token_and_refuses_a_foreign_one() {
    let (first, second) = (Machine::alone("10.0.0.11/22"), Machine::alone("10.0.0.11/22"));
    running_server(&first).stop();
    for name in ["server-ca", "client-ca", "request-header-ca", "etcd/peer-ca", "etcd/server-ca"] {
        for (suffix, mode) in [("crt", 0o644), ("key", 0o600)] {
            let path = format!("/var/lib/rancher/k3s/server/tls/{name}.{suffix}");
            second.write(&path, mode, &first.read(&path));
        }
    }
    configure_server(&second);
    second.write("/etc/rancher/k3s/server-token", 0o600, &format!("K10{}::server:pw", "a".repeat(64)));
    let output = second.output(PROGRAM, &["server"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("refused: token: CA hash aaaa")
            && said.contains("does not match server-ca.crt, which has "),
        "{said}"
    );
    let token = first.read("/var/lib/rancher/k3s/server/token");
    second.write("/etc/rancher/k3s/server-token", 0o600, &token);
    let k3s = second.start("server", &[]);
    k3s.ready();
    assert_eq!(second.read("/var/lib/rancher/k3s/server/token"), token);
    let tls = "/var/lib/rancher/k3s/server/tls/server-ca.crt";
    assert_eq!(second.read(tls), first.read(tls));
    k3s.stop();
    second.write("/etc/rancher/k3s/server-token", 0o600, "another");
    let output = second.output(PROGRAM, &["server"]);
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("the bootstrap data cannot be decrypted with it")
    );
}
