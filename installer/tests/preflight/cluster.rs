use crate::world::{CA, Case, World, case, unknown};
use installer::exit::ExitCode;
use installer::preflight::Outcome::{CouldNotRun, Fail, NotApplicable, Pass, Warn};
use installer::preflight::{Api, Purpose, Route};
use installer::refusal::Refusal;

fn api(w: &mut World) -> &mut Api {
    w.facts.api.as_mut().unwrap()
}

fn token_missing(w: &mut World) {
    w.tokens =
        Some(Err(Refusal::new("E_TOKEN_MISSING", ExitCode::InvalidInput, "master-2 needs server_token")));
}

fn forms(w: &mut World) {
    w.become_node("master-1");
}

pub const CASES: &[Case] = &[
    case("cluster.tokens", |_| {}, Pass, "all there"),
    case("cluster.tokens", token_missing, Warn, "master-2 needs server_token"),
    case(
        "cluster.tokens",
        |w| {
            token_missing(w);
            w.purpose = Purpose::Install;
        },
        Fail,
        "master-2 needs server_token",
    ),
    case("cluster.tokens", |w| w.become_node("proxy-1"), NotApplicable, "a proxy is given no token"),
    case(
        "cluster.tokens",
        |w| w.forget_node(),
        CouldNotRun,
        "no cluster file says what this machine is to become",
    ),
    case("cluster.plan", |_| {}, Pass, "made"),
    case(
        "cluster.plan",
        |w| w.planned = Some(Err(Refusal::new("E_RENDER", ExitCode::InvalidInput, "it cannot be rendered"))),
        Fail,
        "it cannot be rendered",
    ),
    case("cluster.plan", |w| w.planned = None, CouldNotRun, "the medium cannot be read"),
    case("cluster.second", |_| {}, NotApplicable, "this node forms no cluster"),
    case(
        "cluster.second",
        |w| {
            forms(w);
            api(w).ping = Some(Err("connection refused".to_owned()));
        },
        Pass,
        "nobody answers at 10.0.0.10:6443",
    ),
    case(
        "cluster.second",
        forms,
        Fail,
        "master-1 is to form the cluster ha, but a k3s server answers at 10.0.0.10:6443 already; to replace a master list it behind another one, so that it joins",
    ),
    case(
        "cluster.second",
        |w| {
            forms(w);
            w.cluster_exists = true;
        },
        Pass,
        "it runs already: this master joins it",
    ),
    case(
        "cluster.second",
        |w| {
            forms(w);
            api(w).ping = Some(Err("network unreachable".to_owned()));
            w.facts.routes =
                Ok(vec![Route { to: "192.168.7.0/24".parse().unwrap(), interface: "eno1".to_owned() }]);
        },
        CouldNotRun,
        "the live system has no way to 10.0.0.10:6443",
    ),
    case("cluster.ca", |_| {}, Pass, "10.0.0.10:6443 has the CA of the token"),
    case(
        "cluster.ca",
        |w| api(w).ca.as_mut().unwrap().as_mut().unwrap().hashes = vec!["b".repeat(64)],
        Fail,
        "10.0.0.10:6443 shows the CA bbbbbbbbbbbb, the token is of the cluster with the CA aaaaaaaaaaaa; somebody else has the address, or the token is of another cluster",
    ),
    case(
        "cluster.ca",
        |w| {
            let shown = api(w).ca.as_mut().unwrap().as_mut().unwrap();
            assert_eq!(shown.hashes, [CA]);
            shown.signs_server = Err("invalid peer certificate".to_owned());
        },
        Fail,
        "10.0.0.10:6443 shows the CA of the token, but its own certificate is not signed by it (invalid peer certificate); somebody else has the address",
    ),
    case(
        "cluster.ca",
        |w| w.token_ca_hash = None,
        NotApplicable,
        "the token names no CA (it is not of the K10 form)",
    ),
    case(
        "cluster.ca",
        |w| api(w).ca = Some(Err("status 404".to_owned())),
        CouldNotRun,
        "10.0.0.10:6443 shows no CA (status 404)",
    ),
    case("vip.reach", |_| {}, Pass, "10.0.0.10:6443 answers"),
    case(
        "vip.reach",
        |w| api(w).ping = Some(Err("connection refused".to_owned())),
        Warn,
        "10.0.0.10:6443 does not answer (connection refused): this node will wait for it",
    ),
    case("vip.reach", |w| w.become_node("proxy-1"), NotApplicable, "this node does not join through it"),
    case("vip.reach", |w| w.facts.api = unknown(), CouldNotRun, "nobody could look"),
];
