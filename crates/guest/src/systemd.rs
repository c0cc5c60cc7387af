//! A systemd for a guest: this machine's own, with a bus, and one service.
//!
//! ```text
//!  /init ─exec─► /lib/systemd/systemd ─► dbus.socket ─► dbus.service (when somebody connects)
//!                                     └► tests.service: /finish, which powers off
//! ```
//! No journal, no udev, no logins: what is asked of it is to keep cgroups.

use std::path::Path;

use crate::error::Error;
use crate::image::Image;

/// Kernel parameters for it.
pub const APPEND: &str = "systemd.unit=tests.target systemd.log_target=console systemd.log_level=warning systemd.show_status=0";

const PROGRAMS: [&str; 3] = [
    "/lib/systemd/systemd",
    "/bin/systemctl",
    "/usr/bin/dbus-daemon",
];
/// Who may call whom on the bus.
const RULES: [&str; 2] = [
    "/usr/share/dbus-1/system.conf",
    "/usr/share/dbus-1/system.d/org.freedesktop.systemd1.conf",
];

const UNITS: [(&str, &str); 4] = [
    (
        "tests.target",
        "[Unit]\nRequires=dbus.socket tests.service\nAllowIsolate=yes\n",
    ),
    (
        "tests.service",
        "[Unit]\nDefaultDependencies=no\nAfter=dbus.socket\n[Service]\nType=oneshot\n\
         TimeoutStartSec=infinity\nStandardOutput=null\nEnvironment=PATH=/bin HOME=/root\nExecStart=/bin/sh /finish\n",
    ),
    (
        "dbus.socket",
        "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
    ),
    (
        "dbus.service",
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\n\
         ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile \
         --systemd-activation\n",
    ),
];

/// Puts it into `image`, whose `/etc/passwd` has the bus's user.
///
/// # Errors
/// This machine lacks the package systemd or dbus-daemon.
pub fn add(image: &mut Image) -> Result<(), Error> {
    for program in PROGRAMS {
        image.dynamic(Path::new(program))?;
    }
    for rule in RULES {
        image.copy(Path::new(rule), rule)?;
    }
    for (name, text) in UNITS {
        let unit = format!("etc/systemd/system/{name}");
        image.file(&unit, 0o644, text.as_bytes())?;
    }
    image.file(
        "etc/machine-id",
        0o444,
        b"0123456789abcdef0123456789abcdef\n",
    )
}
