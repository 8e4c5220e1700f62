//! The API server's objects: paths, verbs, who may what, and the answers.

use super::{Shared, failure, header};
use crate::config::refuse_label;
use crate::serve::{self, Answer, Call, Identity};
use crate::store::{ApiError, Store, merge_patch, strategic_patch};
use serde_json::{Value, json};

struct Resource {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
}

const fn core(plural: &'static str, kind: &'static str, namespaced: bool) -> Resource {
    Resource { group: "", version: "v1", plural, kind, namespaced }
}

/// The kinds that are emulated.
static RESOURCES: &[Resource] = &[
    core("nodes", "Node", false),
    core("namespaces", "Namespace", false),
    core("events", "Event", true),
    core("pods", "Pod", true),
    core("secrets", "Secret", true),
    Resource {
        group: "coordination.k8s.io",
        version: "v1",
        plural: "leases",
        kind: "Lease",
        namespaced: true,
    },
];

/// Name spaces of a fresh cluster.
pub const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

struct Target {
    resource: &'static Resource,
    namespace: Option<String>,
    name: Option<String>,
    sub: Option<String>,
}

impl Target {
    fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, mut rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let mut namespace = None;
        if let ["namespaces", name, tail @ ..] = rest
            && !tail.is_empty()
        {
            namespace = Some((*name).to_owned());
            rest = tail;
        }
        let (plural, tail) = rest.split_first()?;
        let resource =
            RESOURCES.iter().find(|r| r.group == group && r.version == version && r.plural == *plural)?;
        if namespace.is_some() && !resource.namespaced || tail.len() > 2 {
            return None;
        }
        let name = tail.first().map(|n| (*n).to_owned());
        if resource.namespaced && namespace.is_none() && name.is_some() {
            return None;
        }
        let sub = tail.get(1).map(|s| (*s).to_owned());
        let known_sub =
            matches!((sub.as_deref(), resource.plural), (None, _) | (Some("status"), "nodes" | "pods"));
        known_sub.then_some(Self { resource, namespace, name, sub })
    }

    fn prefix(&self) -> String {
        let Resource { group, version, .. } = self.resource;
        if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
    }

    fn collection(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/namespaces/{namespace}/{}", self.prefix(), self.resource.plural),
            None => format!("{}/{}", self.prefix(), self.resource.plural),
        }
    }

    fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.collection())
    }

    fn lists(&self, path: &str) -> bool {
        let Some((folder, _)) = path.rsplit_once('/') else { return false };
        if self.namespace.is_some() || !self.resource.namespaced {
            return folder == self.collection();
        }
        folder.strip_prefix(&format!("{}/namespaces/", self.prefix())).is_some_and(|rest| {
            rest.split_once('/').is_some_and(|(_, plural)| plural == self.resource.plural)
        })
    }

    /// As in messages: `leases.coordination.k8s.io`.
    fn qualified(&self) -> String {
        let Resource { group, plural, .. } = self.resource;
        if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") }
    }

    fn api_version(&self) -> String {
        let Resource { group, version, .. } = self.resource;
        if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
    }
}

/// Answers one request of a proven user.
pub fn handle(shared: &Shared, call: &Call, user: &Identity) -> Answer {
    let Some(target) = Target::parse(call.uri().path()) else {
        return failure(&ApiError::new(404, "NotFound", "the server could not find the requested resource"));
    };
    for unknown in call.uri().query().unwrap_or_default().split('&').filter_map(|p| p.split('=').next()) {
        if !matches!(unknown, "" | "limit" | "fieldManager" | "pretty" | "timeout" | "fieldValidation") {
            return failure(&ApiError::bad_request(format!(
                "parameter {unknown:?} is not emulated by the k3s double"
            )));
        }
    }
    let verb = match (call.method().as_str(), &target.name) {
        ("GET", Some(_)) => "get",
        ("GET", None) => "list",
        ("POST", None) => "create",
        ("PUT", Some(_)) => "update",
        ("PATCH", Some(_)) => "patch",
        ("DELETE", Some(_)) => "delete",
        _ => {
            return failure(&ApiError::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ));
        }
    };
    if !allowed(&target, verb, user) {
        return failure(&forbidden(&target, verb, user));
    }
    let mut store = shared.store();
    let result = match verb {
        "get" | "list" => read(&store, &target),
        "create" => create(&mut store, &target, call.body(), user),
        "update" => body_json(call.body()).and_then(|new| write(&mut store, &target, user, |_| Ok(new))),
        "patch" => patch(&mut store, &target, call, user),
        _ => delete(&mut store, &target),
    };
    match result {
        Ok(object) => serve::json(if verb == "create" { 201 } else { 200 }, &object),
        Err(error) => failure(&error),
    }
}

/// Roles: administrators may all; a kubelet what its node authorizer grants (reference, section 7.2).
fn allowed(target: &Target, verb: &str, user: &Identity) -> bool {
    if user.groups.iter().any(|g| g == "system:masters") {
        return true;
    }
    let Some(node) =
        user.user.strip_prefix("system:node:").filter(|_| user.groups.iter().any(|g| g == "system:nodes"))
    else {
        return false;
    };
    let own = target.name.as_deref().is_none_or(|name| name == node);
    let reading = matches!(verb, "get" | "list");
    match target.resource.plural {
        "nodes" => reading || own,
        "pods" => true,
        "events" => matches!(verb, "create" | "patch" | "update"),
        "leases" => target.namespace.as_deref() == Some("kube-node-lease") && own && verb != "list",
        _ => false,
    }
}

fn forbidden(target: &Target, verb: &str, user: &Identity) -> ApiError {
    let Resource { group, plural, .. } = target.resource;
    let sub = target.sub.as_ref().map(|s| format!("/{s}")).unwrap_or_default();
    let place = target
        .namespace
        .as_ref()
        .map_or("at the cluster scope".into(), |n| format!("in the namespace {n:?}"));
    let name = target.name.as_ref().map(|n| format!(" {n:?}")).unwrap_or_default();
    ApiError::new(
        403,
        "Forbidden",
        format!(
            "{}{name} is forbidden: User {:?} cannot {verb} resource \"{plural}{sub}\" in API group {group:?} {place}",
            target.qualified(),
            user.user
        ),
    )
}

fn body_json(body: &[u8]) -> Result<Value, ApiError> {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(ApiError::bad_request("the body is not an object")),
        Err(error) => Err(ApiError::bad_request(format!("the body is not JSON: {error}"))),
    }
}

fn read(store: &Store, target: &Target) -> Result<Value, ApiError> {
    if let Some(name) = &target.name {
        return store
            .get(&target.object(name))
            .cloned()
            .ok_or_else(|| ApiError::not_found(&target.qualified(), name));
    }
    Ok(json!({"kind": format!("{}List", target.resource.kind), "apiVersion": target.api_version(),
              "metadata": {"resourceVersion": store.revision().to_string()}, "items": store.list(|path| target.lists(path))}))
}

fn create(store: &mut Store, target: &Target, body: &[u8], user: &Identity) -> Result<Value, ApiError> {
    let mut object = body_json(body)?;
    for (field, wanted) in [("kind", target.resource.kind.to_owned()), ("apiVersion", target.api_version())] {
        match object[field].as_str() {
            Some(found) if found == wanted => {}
            Some(found) => {
                return Err(ApiError::bad_request(format!("{field} {found:?} in the body, want {wanted:?}")));
            }
            None => object[field] = wanted.into(),
        }
    }
    let name = match (object["metadata"]["name"].as_str(), object["metadata"]["generateName"].as_str()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(prefix)) => format!("{prefix}{}", crate::token::random_hex(3)),
        (None, None) => {
            return Err(ApiError::new(
                422,
                "Invalid",
                "metadata.name: Required value: name or generateName is required",
            ));
        }
    };
    object["metadata"]["name"] = name.clone().into();
    if let Some(namespace) = &target.namespace {
        match object["metadata"]["namespace"].as_str() {
            Some(found) if found != namespace => {
                return Err(ApiError::bad_request(format!(
                    "the namespace of the provided object does not match the namespace sent on the request ({found:?}, {namespace:?})"
                )));
            }
            _ => object["metadata"]["namespace"] = namespace.clone().into(),
        }
        if store.get(&format!("/api/v1/namespaces/{namespace}")).is_none() {
            return Err(ApiError::not_found("namespaces", namespace));
        }
    } else if target.resource.namespaced {
        return Err(ApiError::bad_request("an object of this kind is created in a namespace"));
    }
    let kubelet = user.user.strip_prefix("system:node:");
    if target.resource.plural == "nodes" && kubelet.is_some_and(|node| node != name) {
        return Err(ApiError::new(
            403,
            "Forbidden",
            format!(
                "nodes {name:?} is forbidden: node {:?} is not allowed to modify node {name:?}",
                kubelet.unwrap_or_default()
            ),
        ));
    }
    restrict(target, user, &Value::Null, &object)?;
    if store.get(&target.object(&name)).is_some() {
        return Err(ApiError::new(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", target.qualified()),
        ));
    }
    store.put(&target.object(&name), object)
}

fn patch(store: &mut Store, target: &Target, call: &Call, user: &Identity) -> Result<Value, ApiError> {
    let body = body_json(call.body())?;
    let kind =
        header(call, "content-type").unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
    write(store, target, user, |old| {
        let mut new = old.clone();
        match kind.as_str() {
            "application/merge-patch+json" => merge_patch(&mut new, &body),
            "application/strategic-merge-patch+json" => strategic_patch(&mut new, &body)?,
            _ => {
                return Err(ApiError::new(
                    415,
                    "UnsupportedMediaType",
                    format!(
                        "patch type {kind:?} is not emulated by the k3s double (merge-patch and strategic-merge-patch are)"
                    ),
                ));
            }
        }
        Ok(new)
    })
}

/// Replaces an object by what `change` makes of it: revision checked, only the status or all but the status taken.
fn write(
    store: &mut Store,
    target: &Target,
    user: &Identity,
    change: impl FnOnce(&Value) -> Result<Value, ApiError>,
) -> Result<Value, ApiError> {
    let name = target.name.as_deref().unwrap_or_default();
    let path = target.object(name);
    let old = store.get(&path).cloned().ok_or_else(|| ApiError::not_found(&target.qualified(), name))?;
    let mut new = change(&old)?;
    let revision = |object: &Value| object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
    if revision(&new).is_some_and(|r| !r.is_empty() && Some(r) != revision(&old)) {
        return Err(ApiError::new(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {name:?}: the object has been modified; please apply your changes to the latest version and try again",
                target.qualified()
            ),
        ));
    }
    if new["metadata"]["name"].as_str() != Some(name) {
        return Err(ApiError::bad_request("the name of the object does not match the name on the URL"));
    }
    if target.sub.is_some() {
        let status = new["status"].take();
        new = old.clone();
        new["status"] = status;
    } else if matches!(target.resource.plural, "nodes" | "pods") {
        new["status"] = old["status"].clone();
    }
    for field in ["uid", "creationTimestamp", "namespace"] {
        if !old["metadata"][field].is_null() {
            new["metadata"][field] = old["metadata"][field].clone();
        }
    }
    for field in ["kind", "apiVersion"] {
        new[field] = old[field].clone();
    }
    restrict(target, user, &old, &new)?;
    store.put(&path, new)
}

/// NodeRestriction: what a kubelet may not change about its own Node.
fn restrict(target: &Target, user: &Identity, old: &Value, new: &Value) -> Result<(), ApiError> {
    let Some(node) = user.user.strip_prefix("system:node:") else { return Ok(()) };
    if target.resource.plural != "nodes" {
        return Ok(());
    }
    let forbid =
        |what: String| ApiError::new(403, "Forbidden", format!("nodes {node:?} is forbidden: {what}"));
    if !old.is_null() && old["spec"]["taints"] != new["spec"]["taints"] {
        return Err(forbid(format!("node {node:?} is not allowed to modify taints")));
    }
    let empty = serde_json::Map::new();
    for (key, value) in new["metadata"]["labels"].as_object().unwrap_or(&empty) {
        if &old["metadata"]["labels"][key] != value
            && refuse_label(key, value.as_str().unwrap_or_default()).is_some()
        {
            return Err(forbid(format!("is not allowed to modify labels: {key}")));
        }
    }
    Ok(())
}

fn delete(store: &mut Store, target: &Target) -> Result<Value, ApiError> {
    let name = target.name.as_deref().unwrap_or_default();
    let gone =
        store.remove(&target.object(name))?.ok_or_else(|| ApiError::not_found(&target.qualified(), name))?;
    if target.resource.plural == "nodes" {
        // The node controller drops the node's password with it.
        store.remove(&format!("/api/v1/namespaces/kube-system/secrets/{name}.node-password.k3s"))?;
    }
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
              "details": {"name": name, "kind": target.resource.plural, "uid": gone["metadata"]["uid"]}}))
}
