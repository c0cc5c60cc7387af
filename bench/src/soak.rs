//! An agent over very many processes, as probes are: what it holds has to be the same at the end.
//!
//! ```text
//! 200 at once ─ 2,000 in lanes ─ at rest: first row ─ a tenth in lanes ─ at rest: next row ─ …
//! ```
//! A tenth of the processes are programs that are not there, a tenth leave a background child with their
//! output open.

use std::path::Path;
use std::time::Instant;

use agent_api::sandbox::{self, exec_collect_event::Event};
use serde_json::json;

use crate::agent::{Agent, Result, soon, with_rootfs};
use crate::table::markdown;

/// Processes at the same time.
const LANES: usize = 8;
/// Rows of the table after the first.
const ROWS: usize = 10;

/// Runs `execs` processes and returns the markdown report.
///
/// # Errors
/// An agent that does not serve, or a process that ends otherwise than it should.
pub(crate) fn report(bin: &Path, execs: usize) -> Result<String> {
    with_rootfs(async |rootfs| soak(bin, rootfs, execs).await)
}

async fn soak(bin: &Path, rootfs: &Path, execs: usize) -> Result<String> {
    let agent = Agent::start(bin, rootfs).await?;
    // The background children become its own: it has to reap them.
    let script = "while :; do sleep 1; done";
    agent.create("c1", script, None).await?;
    agent.start_container("c1").await?;
    run(&agent, 200, 200).await?;
    run(&agent, 2_000, LANES).await?;
    let mut rows = vec![held(&agent, 0, None).await?];
    let begin = Instant::now();
    for row in 1..=ROWS {
        let (from, to) = (execs * (row - 1) / ROWS, execs * row / ROWS);
        let begin = Instant::now();
        run(&agent, to - from, LANES).await?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = (to - from) as f64 / begin.elapsed().as_secs_f64();
        rows.push(held(&agent, to, Some(rate)).await?);
        // A soak takes hours: what is known so far.
        eprintln!(
            "{}",
            rows.last().map(|row| row.join("\t")).unwrap_or_default()
        );
    }
    let took = begin.elapsed();
    agent.remove("c1").await?;
    agent.end().await?;
    let head = [
        "processes",
        "per second",
        "descriptors",
        "tasks",
        "PSS KiB",
        "of it private",
    ];
    Ok(format!(
        "\n`coffer-agent` at rest after so many processes, {LANES} at a time, {:.0} s:\n\n{}",
        took.as_secs_f64(),
        markdown(&head, &rows)
    ))
}

/// A row of what the agent holds at rest.
async fn held(agent: &Agent, so_far: usize, rate: Option<f64>) -> Result<Vec<String>> {
    agent.settle(1).await?;
    Ok(vec![
        so_far.to_string(),
        rate.map_or_else(String::new, |rate| format!("{rate:.0}")),
        agent.count("fd")?.to_string(),
        agent.count("task")?.to_string(),
        agent.memory("Pss:")?.to_string(),
        agent.memory("Pss_Anon:")?.to_string(),
    ])
}

/// Runs `count` processes in so many lanes.
async fn run(agent: &Agent, count: usize, lanes: usize) -> Result<()> {
    let lanes = (0..lanes).map(async |lane| {
        for n in (lane..count).step_by(lanes) {
            exec(agent, n).await?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    futures::future::try_join_all(lanes).await?;
    Ok(())
}

async fn exec(agent: &Agent, n: usize) -> Result<()> {
    // Not in step with the lanes.
    let (words, fails): (&[&str], bool) = match n / LANES % 10 {
        0 => (&["no-such-program"], true),
        1 => (&["sh", "-c", "sleep 0.01 & echo hi"], false),
        _ => (&["echo", "hi"], false),
    };
    let process = json!({
        "args": words, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
    });
    let request = sandbox::ExecCollectRequest {
        container_id: "c1".into(),
        process_json: serde_json::to_vec(&process)?,
        ..Default::default()
    };
    let (mut output, mut code) = (Vec::new(), None);
    match collect(agent, &request, &mut output, &mut code).await {
        Err(_) if fails => Ok(()),
        Ok(()) if !fails && code == Some(0) && output == b"hi\n" => Ok(()),
        other => Err(format!("{words:?}: {other:?}, code {code:?}").into()),
    }
}

async fn collect(
    agent: &Agent,
    request: &sandbox::ExecCollectRequest,
    output: &mut Vec<u8>,
    code: &mut Option<i32>,
) -> Result<()> {
    let mut events = agent.own.exec_collect(soon(), request).await?;
    while let Some(event) = events.recv().await? {
        match event.event {
            Some(Event::Stdout(data) | Event::Stderr(data)) => output.extend(data),
            Some(Event::Exit(exit)) => *code = Some(exit.code),
            None => {}
        }
    }
    Ok(())
}
