use super::*;

fn published(ip: &str, host: u16, container: u16, protocol: Protocol) -> Published {
    Published {
        ip: ip.to_owned(),
        host,
        container,
        protocol,
    }
}

#[test]
fn ports_as_people_write_them() {
    let table = [
        ("8080:80", vec![published("", 8080, 80, Protocol::Tcp)]),
        ("80", vec![published("", 0, 80, Protocol::Tcp)]),
        (
            "127.0.0.1:53:5353/udp",
            vec![published("127.0.0.1", 53, 5353, Protocol::Udp)],
        ),
        (
            "127.0.0.1::80",
            vec![published("127.0.0.1", 0, 80, Protocol::Tcp)],
        ),
        (
            "[fd00::1]:8080:80",
            vec![published("fd00::1", 8080, 80, Protocol::Tcp)],
        ),
        (
            "9000-9001:80-81/sctp",
            vec![
                published("", 9000, 80, Protocol::Sctp),
                published("", 9001, 81, Protocol::Sctp),
            ],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(ports(text), Ok(expected), "{text}");
    }
    let wrong = [
        ("", "no port"),
        ("0:80", "no port"),
        ("70000:80", "no port"),
        ("80:", "no port"),
        ("80/icmp", "none of tcp"),
        ("::1:8080:80", "brackets"),
        ("localhost:8080:80", "not an IP address"),
        ("9000-9002:80-81", "differ in length"),
        ("9002-9000:80-82", "backwards"),
        ("[::1", "such as 8080:80"),
    ];
    for (text, part) in wrong {
        let said = ports(text).unwrap_err();
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn volumes_by_path_only() {
    assert_eq!(volume("/a:/b:ro").unwrap().host_path, "/a");
    let here = std::env::current_dir().unwrap();
    let here = here.join("www").display().to_string();
    assert_eq!(volume("./www:/b").unwrap().host_path, here);
    for (text, part) in [
        ("data:/b", "by name"),
        ("/b", "do not exist"),
        ("/a:b", "absolute path on the container"),
    ] {
        let said = volume(text).unwrap_err();
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn mounts_in_long_form() {
    let found = mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave").unwrap();
    assert_eq!(
        (found.host_path.as_str(), found.container_path.as_str()),
        ("/a", "/b")
    );
    assert!(found.read_only && found.propagation == Propagation::HostToContainer);
    for (text, part) in [
        ("src=/a,dst=/b", "volume"),
        ("type=tmpfs,dst=/b", "only type=bind"),
        ("type=bind,src=/a", "needs source= and target="),
        ("type=bind,sorce=/a,dst=/b", "did you mean \"source\""),
        ("type=bind,src=/a,dst=/b,ro=maybe", "neither true nor false"),
    ] {
        let said = mount(text).unwrap_err();
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn devices() {
    let of = |text| {
        let device = device(text).unwrap();
        (device.host_path, device.container_path, device.access)
    };
    let words = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(of("/dev/fuse"), words("/dev/fuse", "/dev/fuse", "rwm"));
    assert_eq!(of("/dev/a:r"), words("/dev/a", "/dev/a", "r"));
    assert_eq!(of("/dev/a:/dev/b:rw"), words("/dev/a", "/dev/b", "rw"));
    for text in ["", "fuse", "/dev/a:/dev/b:x", "/dev/a:b:c:d"] {
        assert!(device(text).is_err(), "{text}");
    }
}

#[test]
fn security_options() {
    let table = [
        (
            "seccomp=unconfined",
            SecurityOption::Seccomp(Profile::Unconfined),
        ),
        (
            "seccomp:/p.json",
            SecurityOption::Seccomp(Profile::Named("/p.json".to_owned())),
        ),
        (
            "apparmor=mine",
            SecurityOption::AppArmor(Profile::Named("mine".to_owned())),
        ),
        ("no-new-privileges", SecurityOption::NoNewPrivileges(true)),
        (
            "no-new-privileges:false",
            SecurityOption::NoNewPrivileges(false),
        ),
    ];
    for (text, option) in table {
        assert_eq!(security(text), Ok(option), "{text}");
    }
    for text in ["", "seccomp", "seccomp=", "label=disable", "nonsense=1"] {
        assert!(security(text).is_err(), "{text}");
    }
}

#[test]
fn groups_and_capabilities() {
    assert_eq!(capability("cap_net_admin").as_deref(), Ok("NET_ADMIN"));
    assert!(capability("net-admin").is_err() && capability("").is_err());
    assert_eq!(group("7"), Ok(7));
    assert!(group("wheel").is_err() && group("-1").is_err());
}

#[test]
fn whose_processes() {
    assert_eq!(pid("container:web"), Ok(Pid::Of("web".to_owned())));
    assert_eq!(pid("host"), Ok(Pid::Host));
    for text in ["", "container:", "shared"] {
        assert!(pid(text).is_err(), "{text}");
    }
}

#[test]
fn files_of_variables() {
    let text = "# a comment\nA=1\n\nB=two words # kept\nNO_SUCH_VARIABLE_EVER\n";
    let found = env_file(text).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[1], ("B".to_owned(), "two words # kept".to_owned()));
    assert!(env_file("A=1\n=x\n").unwrap_err().contains("line 2"));
}
