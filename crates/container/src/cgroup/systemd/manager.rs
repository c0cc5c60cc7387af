//! The calls to `org.freedesktop.systemd1.Manager`.

use super::super::error::Error;
use super::Unit;
use super::properties::Property;
use crate::dbus::{self, Call, Connection, Value};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

pub(super) struct Manager<'a> {
    unit: &'a Unit,
    bus: Connection,
}

impl<'a> Manager<'a> {
    pub(super) fn connect(unit: &'a Unit) -> Result<Self, Error> {
        let bus = Connection::open(&unit.bus).map_err(failed("find", unit))?;
        Ok(Self { unit, bus })
    }

    fn manager(&mut self, member: &str, body: Vec<Value>) -> Result<Vec<Value>, dbus::Error> {
        let call = Call {
            destination: SYSTEMD,
            path: PATH,
            interface: MANAGER,
            member,
        };
        self.bus.call(&call, body)
    }

    /// The cgroup that the manager's own units are below.
    pub(super) fn control_group(&mut self) -> Result<String, Error> {
        let call = Call {
            destination: SYSTEMD,
            path: PATH,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
        };
        let body = vec![Value::text(MANAGER), Value::text("ControlGroup")];
        let answer = self.bus.call(&call, body);
        let answer = answer.map_err(failed("ask for the control group above", self.unit))?;
        let path = answer.first().and_then(Value::as_text).unwrap_or_default();
        Ok(path.to_owned())
    }

    /// Makes the scope; one of that name that failed long ago is cleared away first.
    pub(super) fn start(&mut self, properties: Vec<Property>) -> Result<(), Error> {
        let unit = self.unit;
        self.listen().map_err(failed("start", unit))?;
        let mut started = self.try_start(&properties);
        if started
            .as_ref()
            .is_err_and(|e| e.is("org.freedesktop.systemd1.UnitExists"))
        {
            let _nothing_failed = self.manager("ResetFailedUnit", vec![Value::text(&unit.name)]);
            started = self.try_start(&properties);
        }
        let job = started.map_err(failed("start", unit))?;
        self.finish("start", &job)
    }

    fn try_start(&mut self, properties: &[Property]) -> Result<String, dbus::Error> {
        let answer = self.manager(
            "StartTransientUnit",
            vec![
                Value::text(&self.unit.name),
                Value::text("replace"),
                list(properties),
                Value::Array("(sa(sv))".to_owned(), Vec::new()),
            ],
        )?;
        job(&answer)
    }

    /// Stops the scope and forgets how it ended.
    pub(super) fn stop(&mut self) -> Result<(), Error> {
        let unit = self.unit;
        self.listen().map_err(failed("stop", unit))?;
        let body = vec![Value::text(&unit.name), Value::text("replace")];
        match self.manager("StopUnit", body).and_then(|a| job(&a)) {
            Ok(job) => self.finish("stop", &job)?,
            Err(e) if e.is("org.freedesktop.systemd1.NoSuchUnit") => return Ok(()),
            Err(e) => return Err(failed("stop", unit)(e)),
        }
        let _not_failed = self.manager("ResetFailedUnit", vec![Value::text(&unit.name)]);
        Ok(())
    }

    /// Changes properties until the next boot.
    pub(super) fn set(&mut self, properties: Vec<Property>) -> Result<(), Error> {
        let body = vec![
            Value::text(&self.unit.name),
            Value::Bool(true),
            list(&properties),
        ];
        self.manager("SetUnitProperties", body)
            .map(drop)
            .map_err(failed("set properties of", self.unit))
    }

    /// Asks for the signals that tell the end of jobs.
    fn listen(&mut self) -> Result<(), dbus::Error> {
        let bus = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "AddMatch",
        };
        let rule = format!("type='signal',interface='{MANAGER}',member='JobRemoved'");
        self.bus.call(&bus, vec![Value::text(rule)])?;
        match self.manager("Subscribe", Vec::new()) {
            Err(e) if e.is("org.freedesktop.systemd1.AlreadySubscribed") => Ok(()),
            other => other.map(drop),
        }
    }

    fn finish(&mut self, act: &'static str, job: &str) -> Result<(), Error> {
        let result = self.bus.signal("JobRemoved", |body| {
            let [_, path, _, result, ..] = body else {
                return None;
            };
            (path.as_text() == Some(job)).then(|| result.as_text().unwrap_or_default().to_owned())
        });
        let result = result.map_err(failed(act, self.unit))?;
        if result == "done" || act == "stop" {
            return Ok(());
        }
        Err(Error::Job {
            act,
            unit: self.unit.name.clone(),
            result,
        })
    }
}

fn failed(act: &'static str, unit: &Unit) -> impl FnOnce(dbus::Error) -> Error {
    let unit = unit.name.clone();
    move |source| Error::Systemd { act, unit, source }
}

fn job(answer: &[Value]) -> Result<String, dbus::Error> {
    let path = answer.first().and_then(Value::as_text);
    Ok(path
        .ok_or(dbus::Error::Protocol("an answer without a job"))?
        .to_owned())
}

fn list(properties: &[Property]) -> Value {
    let one =
        |(name, value): &Property| Value::Struct(vec![Value::text(name), value.clone().variant()]);
    Value::Array("(sv)".to_owned(), properties.iter().map(one).collect())
}
