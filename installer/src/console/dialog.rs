//! Asking for network and configuration at the console. What comes out is a text of kernel arguments in dracut's words, so that
//! whoever reads those reads the answers too. One question, one line; Enter takes what is offered; `q` ends it.

use super::operator::Operator;
use super::portrait::render_port;
use crate::config_source::parse_kernel_args;
use crate::inventory::{Inventory, Nic, sanitise};
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;
use sysio::typed::Typed;

/// How long a question waits. Then the search for a configuration goes on: an unattended machine must never hang in a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);
/// Wrong answers to one question after which the dialogue is ended.
const WRONG_MAX: u32 = 5;
/// Highest VLAN tag there is.
const VLAN_MAX: u16 = 4094;

/// The network the operator wants for the live system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkAnswer {
    /// Port.
    pub port: String,
    /// Tag, for a port that carries several networks.
    pub vlan: Option<u16>,
    /// Address with prefix; `None` asks by DHCP.
    pub address: Option<IpNet>,
    /// Gateway.
    pub gateway: Option<IpAddr>,
    /// Name server.
    pub dns: Option<IpAddr>,
}

/// Everything the operator said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The network; `None` leaves it as it is.
    pub network: Option<NetworkAnswer>,
    /// The URL of the cluster file.
    pub url: Option<String>,
}

impl NetworkAnswer {
    /// Interface that carries the address.
    pub fn interface(&self) -> String {
        self.vlan.map_or_else(|| self.port.clone(), |tag| format!("{}.{tag}", self.port))
    }

    /// In the words of `dracut.cmdline(7)`.
    pub fn kernel_arguments(&self) -> String {
        let interface = self.interface();
        let mut words = Vec::new();
        words.extend(self.vlan.map(|_| format!("vlan={interface}:{}", self.port)));
        words.push(match self.address {
            None => format!("ip={interface}:dhcp"),
            Some(address) => {
                let mask = match address {
                    IpNet::V4(v4) => v4.netmask().to_string(),
                    IpNet::V6(v6) => v6.prefix_len().to_string(),
                };
                let gateway = self.gateway.map(bracketed).unwrap_or_default();
                format!("ip={}::{gateway}:{mask}::{interface}:none", bracketed(address.addr()))
            }
        });
        words.extend(self.dns.map(|dns| format!("nameserver={}", bracketed(dns))));
        words.join(" ")
    }
}

impl Answers {
    /// As [`Answers::kernel_arguments`], without a password that may stand in the URL.
    pub fn shown(&self) -> String {
        let url = self.url.as_deref().map(sysio::http::without_user);
        Self { network: self.network.clone(), url }.kernel_arguments()
    }

    /// All of it as kernel arguments.
    pub fn kernel_arguments(&self) -> String {
        let network = self.network.as_ref().map(NetworkAnswer::kernel_arguments);
        let url = self.url.as_ref().map(|url| format!("metalstrap.config={url}"));
        network.into_iter().chain(url).collect::<Vec<_>>().join(" ")
    }
}

/// dracut wants IPv6 addresses in brackets.
fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// Asks for everything; `None` when the operator ends it or does not answer.
pub fn ask_network_and_url(operator: &mut dyn Operator, inventory: &Inventory) -> Option<Answers> {
    operator.line("metalstrap: one answer per line; Enter takes what is in brackets, q ends this");
    let network = match ask_port(operator, inventory)? {
        None => None,
        Some(port) => Some(ask_addresses(operator, port)?),
    };
    let url =
        ask(operator, "URL of the cluster file, http://... or https://... [look at the media]", parse_url)?;
    Some(Answers { network, url })
}

fn ask_port(operator: &mut dyn Operator, inventory: &Inventory) -> Option<Option<String>> {
    // A name that needs escaping is no name the kernel gives, and none that could stand in a kernel argument.
    let ports: Vec<&Nic> = inventory.ports().filter(|nic| is_plain_name(&nic.name)).collect();
    if ports.is_empty() {
        operator.line("metalstrap: this machine has no network port");
        return Some(None);
    }
    for (number, nic) in (1..).zip(&ports) {
        operator.line(&format!("metalstrap:   {number}) {}", render_port(nic)));
    }
    let parse = |text: &str| {
        let by_number = text.parse::<usize>().ok().and_then(|number| ports.get(number.checked_sub(1)?));
        let chosen = by_number.or_else(|| ports.iter().find(|nic| nic.name == text));
        chosen.map(|nic| nic.name.clone()).ok_or_else(|| "give the number or the name of a port".to_owned())
    };
    ask(operator, "number of the port to set up [keep the network as it is]", parse)
}

fn is_plain_name(name: &str) -> bool {
    (1..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn ask_addresses(operator: &mut dyn Operator, port: String) -> Option<NetworkAnswer> {
    let vlan = ask(operator, "VLAN tag [none]", parse_vlan)?;
    let address = ask(operator, "address with prefix, such as 10.0.0.21/22 [DHCP]", parse_address)?;
    let mut answer = NetworkAnswer { port, vlan, address, gateway: None, dns: None };
    if let Some(address) = answer.address {
        answer.gateway = ask(operator, "gateway [none]", |text| parse_gateway(text, address))?;
        answer.dns = ask(operator, "name server [none]", parse_ip)?;
    }
    Some(answer)
}

/// Asks until the answer is right. Outer `None`: ended; inner `None`: what is offered.
fn ask<T>(
    operator: &mut dyn Operator,
    question: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Option<T>> {
    for _ in 0..WRONG_MAX {
        operator.line(&format!("metalstrap: {question}:"));
        let Typed::Line(line) = operator.wait(ANSWER_LIMIT) else {
            operator.line("metalstrap: no answer; nothing was changed");
            return None;
        };
        match line.trim() {
            "" => return Some(None),
            "q" => {
                operator.line("metalstrap: ended; nothing was changed");
                return None;
            }
            text => match parse(text) {
                Ok(value) => return Some(Some(value)),
                Err(why) => operator.line(&format!("metalstrap: \"{}\": {why}", sanitise(text))),
            },
        }
    }
    operator.line("metalstrap: too many answers that cannot be meant; nothing was changed");
    None
}

fn parse_vlan(text: &str) -> Result<u16, String> {
    let tag = text.parse().ok().filter(|tag| (1..=VLAN_MAX).contains(tag));
    tag.ok_or_else(|| format!("a VLAN tag is a number from 1 to {VLAN_MAX}"))
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "this is no IP address".to_owned())?;
    if address.is_unspecified() || address.is_multicast() {
        return Err("no host has this address".to_owned());
    }
    Ok(address)
}

fn parse_address(text: &str) -> Result<IpNet, String> {
    let form = "give an address with the length of its prefix, such as 10.0.0.21/22 or 2001:db8::21/64";
    let address: IpNet = text.parse().map_err(|_| form.to_owned())?;
    parse_ip(&address.addr().to_string())?;
    let is_net_itself = match address {
        IpNet::V4(v4) => v4.prefix_len() < 31 && (v4.addr() == v4.network() || v4.addr() == v4.broadcast()),
        IpNet::V6(_) => false,
    };
    if address.addr().is_loopback() || is_net_itself {
        return Err("this is the network's own or its broadcast address, or loopback".to_owned());
    }
    Ok(address)
}

fn parse_gateway(text: &str, address: IpNet) -> Result<IpAddr, String> {
    let gateway = parse_ip(text)?;
    let is_link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if gateway == address.addr() || (!address.contains(&gateway) && !is_link_local) {
        return Err(format!("a gateway is another address inside {}", address.trunc()));
    }
    Ok(gateway)
}

/// The very parser of the kernel's arguments decides what a URL is.
fn parse_url(text: &str) -> Result<String, String> {
    if text.contains(|c: char| c.is_whitespace() || c == '"' || c.is_control()) {
        return Err("a URL has no blanks and no quotation marks".to_owned());
    }
    match parse_kernel_args(&format!("metalstrap.config={text}")) {
        Ok(_) => Ok(text.to_owned()),
        Err(refusal) => Err(refusal.message),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, ask_network_and_url};
    use crate::console::Script;
    use crate::inventory::{Inventory, parse_inventory};

    fn inventory() -> Inventory {
        parse_inventory(include_str!("../../tests/fixtures/inventory/eight-nics.json")).unwrap()
    }

    fn port(number: usize) -> String {
        inventory().ports().nth(number).unwrap().name.clone()
    }

    fn answers(typed: &[&str]) -> (Option<Answers>, Vec<String>) {
        let mut script = Script::typing(typed);
        (ask_network_and_url(&mut script, &inventory()), script.lines)
    }

    #[test]
    fn answers_become_the_words_of_dracut() {
        let eth = port(1);
        let arguments = |typed: &[&str]| answers(typed).0.unwrap().kernel_arguments();
        assert_eq!(arguments(&["", ""]), "");
        assert_eq!(arguments(&["", "http://h/c.toml"]), "metalstrap.config=http://h/c.toml");
        assert_eq!(arguments(&["2", "", "", ""]), format!("ip={eth}:dhcp"));
        assert_eq!(
            arguments(&[&eth, "20", "10.0.0.21/22", "10.0.0.1", "10.0.0.2", "http://10.0.0.1/${mac}.toml"]),
            format!(
                "vlan={eth}.20:{eth} ip=10.0.0.21::10.0.0.1:255.255.252.0::{eth}.20:none nameserver=10.0.0.2 \
                 metalstrap.config=http://10.0.0.1/${{mac}}.toml"
            )
        );
        assert_eq!(
            arguments(&["2", "", "2001:db8::2/64", "fe80::1", "2001:db8::1", ""]),
            format!("ip=[2001:db8::2]::[fe80::1]:64::{eth}:none nameserver=[2001:db8::1]")
        );
    }

    #[test]
    fn a_wrong_answer_is_named_and_asked_again() {
        let wrong = [
            ("9", "\"9\": give the number or the name of a port"),
            ("0", "\"0\": give the number or the name of a port"),
            ("eth\x1b[2J", "\"eth\\u{1b}[2J\": give the number or the name of a port"),
        ];
        for (text, said) in wrong {
            let (answers, lines) = answers(&[text, "", ""]);
            assert_eq!(answers, Some(Answers::default()));
            assert!(lines.contains(&format!("metalstrap: {said}")), "{lines:?}");
        }
        let (_, lines) = answers(&[
            "1",
            "0",
            "4095",
            "5",
            "10.0.0.0/22",
            "10.0.0.21",
            "10.0.0.21/22",
            "10.9.0.1",
            "10.0.0.21",
            "",
            "x",
            "",
            "ftp://x",
            "http://a b",
        ]);
        for said in [
            "\"4095\": a VLAN tag is a number from 1 to 4094",
            "\"10.0.0.0/22\": this is the network's own or its broadcast address, or loopback",
            "\"10.0.0.21\": give an address with the length of its prefix, such as 10.0.0.21/22 or 2001:db8::21/64",
            "\"10.9.0.1\": a gateway is another address inside 10.0.0.0/22",
            "\"10.0.0.21\": a gateway is another address inside 10.0.0.0/22",
            "\"x\": this is no IP address",
            "\"ftp://x\": metalstrap.config has the value \"ftp://x\", expected http://…, https://… or label:NAME",
            "\"http://a b\": a URL has no blanks and no quotation marks",
        ] {
            assert!(lines.contains(&format!("metalstrap: {said}")), "{said}: {lines:#?}");
        }
    }

    #[test]
    fn it_ends_by_q_by_silence_and_by_noise() {
        let (ended, lines) = answers(&["1", "q"]);
        assert_eq!((ended, lines.last().unwrap().as_str()), (None, "metalstrap: ended; nothing was changed"));
        let (ended, lines) = answers(&["1"]);
        assert_eq!(
            (ended, lines.last().unwrap().as_str()),
            (None, "metalstrap: no answer; nothing was changed")
        );
        assert_eq!(answers(&["z"; 40]).0, None);
    }
}
