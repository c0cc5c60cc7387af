//! What is told of changes: each once and in order, to clients of CRI and of coffer.v1.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use cri_api::{
    node::{Event, EventsRequest},
    v1::{self, ContainerEventType, PodSandboxState},
};
use system_tests::{Client, Node, configs};
use tonic::{Code, Streaming};

async fn events(client: &Client, after: u64, snapshot: bool, follow: bool) -> Streaming<Event> {
    let request = EventsRequest {
        after,
        snapshot,
        follow,
    };
    client
        .node
        .clone()
        .events(request)
        .await
        .unwrap()
        .into_inner()
}

async fn listen(client: &Client) -> Streaming<v1::ContainerEventResponse> {
    let mut runtime = client.runtime.clone();
    let answer = runtime.get_container_events(v1::GetEventsRequest {}).await;
    answer.unwrap().into_inner()
}

/// The next `count` answers.
async fn take<T>(stream: &mut Streaming<T>, count: usize) -> Vec<T> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.message());
        match next.await {
            Ok(Ok(Some(message))) => taken.push(message),
            Ok(Ok(None)) => panic!("{} of {count} came, then the end", taken.len()),
            Ok(Err(status)) => panic!("{} of {count} came, then {status}", taken.len()),
            Err(_) => panic!("{} of {count} came, then nothing", taken.len()),
        }
    }
    taken
}

/// All to the end of the stream.
async fn rest(mut stream: Streaming<Event>) -> Vec<Event> {
    let mut all = Vec::new();
    while let Some(event) = stream.message().await.unwrap() {
        all.push(event);
    }
    all
}

fn words(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| format!("{} {} {}", event.kind, event.action, event.name);
    events.iter().map(word).collect()
}

/// Runs a pod whose container ends with code 3, and removes it.
async fn life(client: &Client, node: &Node, image: &str, name: &str) -> (String, String) {
    let pod_config = configs::pod(name, &node.logs());
    let config = configs::shell("main", image, "exit 3");
    let (pod, container) = client.run(&pod_config, &config).await.unwrap();
    client.wait(&container).await.unwrap();
    client.stop_pod(&pod).await.unwrap();
    client.remove_pod(&pod).await.unwrap();
    (pod, container)
}

const LIFE: [&str; 7] = [
    "pod create",
    "container create",
    "container start",
    "container die",
    "pod stop",
    "container remove",
    "pod remove",
];

#[tokio::test]
async fn a_life_is_told_once_and_in_order() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut live = events(&client, 0, false, true).await;
    let (pod, container) = life(&client, &node, &image, "told").await;
    let heard = take(&mut live, 8).await;
    assert_eq!(
        (heard[0].kind.as_str(), heard[0].action.as_str()),
        ("image", "import")
    );
    assert_eq!(heard[0].id, image);
    let life: Vec<_> = heard[1..]
        .iter()
        .map(|e| format!("{} {}", e.kind, e.action))
        .collect();
    assert_eq!(life, LIFE);
    let numbers: Vec<_> = heard.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    assert!(heard.windows(2).all(|two| two[0].at_ns <= two[1].at_ns));
    let die = &heard[4];
    assert_eq!(
        (&die.id, &die.pod_id, die.pod_name.as_str()),
        (&container, &pod, "told")
    );
    assert_eq!(die.attributes["exit_code"], "3");
    assert_eq!(die.attributes["reason"], "Error");
    assert!(die.attributes.contains_key("image"));

    // Remembered for who comes later, from any place.
    assert_eq!(rest(events(&client, 0, false, false).await).await, heard);
    assert_eq!(
        rest(events(&client, 5, false, false).await).await,
        heard[5..]
    );
    assert_eq!(rest(events(&client, 8, false, false).await).await, []);
    let beyond = EventsRequest {
        after: 9,
        ..Default::default()
    };
    let error = client.node.clone().events(beyond).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange);
    assert!(error.message().contains("ask for a snapshot"), "{error:?}");
    drop(live);
    node.finish().await;
}

#[tokio::test]
async fn a_snapshot_and_what_follows_leave_no_gap_even_over_a_restart() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("main", &image, configs::FOREVER);
    let (pod, container) = client
        .run(&configs::pod("stays", &node.logs()), &config)
        .await
        .unwrap();
    let all = rest(events(&client, 0, true, false).await).await;
    assert_eq!(words(&all), ["pod exists stays", "container exists main"]);
    assert_eq!(all[1].attributes["state"], "running");
    assert!(all.iter().all(|event| event.seq == 0));

    node.kill();
    node.start().await;
    let client = node.client().await;
    // What is there already is no news.
    assert_eq!(rest(events(&client, 0, false, false).await).await, []);
    let mut live = events(&client, 0, true, true).await;
    let all = take(&mut live, 2).await;
    assert_eq!(words(&all), ["pod exists stays", "container exists main"]);
    client.stop(&container, 10).await.unwrap();
    client.stop_pod(&pod).await.unwrap();
    client.remove_pod(&pod).await.unwrap();
    let heard = take(&mut live, 4).await;
    assert_eq!(
        words(&heard),
        [
            "container die main",
            "pod stop stays",
            "container remove main",
            "pod remove stays"
        ]
    );
    assert_eq!(heard[0].attributes["exit_code"], "0");
    drop(live);
    node.finish().await;
}

#[tokio::test]
async fn cri_hears_each_change_with_what_was_true_then() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let (mut first, mut second) = (listen(&client).await, listen(&client).await);
    let (pod, container) = life(&client, &node, &image, "heard").await;
    let heard = take(&mut first, 8).await;
    use ContainerEventType::{
        ContainerCreatedEvent as Created, ContainerDeletedEvent as Deleted,
        ContainerStartedEvent as Started, ContainerStoppedEvent as Stopped,
    };
    let told: Vec<_> = heard
        .iter()
        .map(|event| {
            let states: Vec<_> = event
                .containers_statuses
                .iter()
                .map(|c| c.state())
                .collect();
            let ready =
                event.pod_sandbox_status.as_ref().unwrap().state() == PodSandboxState::SandboxReady;
            (
                event.container_id == pod,
                event.container_event_type(),
                ready,
                states,
            )
        })
        .collect();
    use v1::ContainerState::{
        ContainerCreated as IsCreated, ContainerExited as IsExited, ContainerRunning as IsRunning,
    };
    assert_eq!(
        told,
        [
            (true, Created, true, vec![]),
            (true, Started, true, vec![]),
            (false, Created, true, vec![IsCreated]),
            (false, Started, true, vec![IsRunning]),
            (false, Stopped, true, vec![IsExited]),
            (true, Stopped, false, vec![IsExited]),
            (false, Deleted, false, vec![]),
            (true, Deleted, false, vec![]),
        ]
    );
    for event in &heard {
        assert!(event.created_at > 0);
        let status = event.pod_sandbox_status.as_ref().unwrap();
        assert_eq!(status.id, pod);
        assert_eq!(status.metadata.as_ref().unwrap().uid, "uid-heard");
    }
    assert_eq!(heard[4].containers_statuses[0].exit_code, 3);
    assert_eq!(heard[4].container_id, container);
    // Everyone hears the same.
    assert_eq!(take(&mut second, 8).await, heard);
    drop((first, second));
    node.finish().await;
}

#[tokio::test]
async fn a_client_that_does_not_listen_delays_nobody() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let quiet = node.client().await;
    let mut deaf = listen(&quiet).await;
    let pod_config = configs::pod("busy", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();
    for round in 0..3 {
        let config = configs::shell(&format!("c{round}"), &image, "exit 0");
        let id = client.create(&pod, &pod_config, &config).await.unwrap();
        client.start(&id).await.unwrap();
        client.wait(&id).await.unwrap();
        client.remove(&id).await.unwrap();
    }
    // Nothing was read, and nothing is lost as long as it fits.
    assert_eq!(take(&mut deaf, 2 + 3 * 4).await.len(), 14);
    // Nor does one that still listens keep the daemon from its end.
    node.finish().await;
    drop(deaf);
}
