use super::*;

#[tokio::test]
async fn an_answer_goes_back_on_the_connection_that_its_request_came_by() {
    let mut bench = Bench::new();
    let mut peer = TcpStream::connect(bench.at).await.unwrap();
    let at = peer.local_addr().unwrap();
    let options = request("OPTIONS", "TCP", free("127.0.0.1"), "t1");
    let (first, rest) = options.split_at(70);
    peer.write_all(first.as_bytes()).await.unwrap();
    peer.flush().await.unwrap();
    tokio::task::yield_now().await;
    peer.write_all(format!("{rest}{options}").as_bytes()).await.unwrap();
    assert_eq!(bench.message().await, (Tcp, at, options.clone()));
    assert_eq!(bench.message().await, (Tcp, at, options));
    let answer = response("TCP", at, "t1");
    bench.send(at, &answer).await;
    assert_eq!(read(&mut peer, answer.len()).await, answer);
    assert_eq!(counted(&bench.metrics, "sip_stream_messages_received_total{transport=\"tcp\"}"), 2.0);
    assert_eq!(counted(&bench.metrics, "sip_connections{transport=\"tcp\"}"), 1.0);
}

#[tokio::test]
async fn an_answer_whose_connection_is_gone_goes_to_where_the_far_side_listens() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listens = listener.local_addr().unwrap();
    let mut peer = TcpStream::connect(bench.at).await.unwrap();
    let at = peer.local_addr().unwrap();
    peer.write_all(request("OPTIONS", "TCP", listens, "t2").as_bytes()).await.unwrap();
    bench.message().await;
    drop(peer);
    until_counted(&bench.metrics, "sip_connections{transport=\"tcp\"}", 0.0).await;
    let answer = response("TCP", listens, "t2");
    bench.send(at, &answer).await;
    let (mut back, _) = soon(listener.accept()).await.unwrap();
    assert_eq!(read(&mut back, answer.len()).await, answer);
}

#[tokio::test]
async fn requests_to_one_peer_share_a_connection_and_answers_come_back_by_it() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let (one, two) = (request("INVITE", "TCP", bench.at, "c1"), request("INVITE", "TCP", bench.at, "c2"));
    bench.send(to, &one).await;
    bench.send(to, &two).await;
    let (mut peer, _) = soon(listener.accept()).await.unwrap();
    assert_eq!(read(&mut peer, one.len() + two.len()).await, one + &two);
    let answer = response("TCP", bench.at, "c1");
    peer.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(bench.message().await, (Tcp, to, answer));
    // And a request of theirs is answered by it too.
    let bye = request("BYE", "TCP", to, "c2");
    peer.write_all(bye.as_bytes()).await.unwrap();
    assert_eq!(bench.message().await, (Tcp, to, bye));
    assert!(tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "a second connection");
}

/// RFC 5923 in spirit: who connects and says in Via that he listens elsewhere on the same address is reached by his own connection.
#[tokio::test]
async fn a_request_goes_by_a_connection_that_came_from_there() {
    let mut bench = Bench::new();
    let mut peer = TcpStream::connect(bench.at).await.unwrap();
    let listens = free("127.0.0.1");
    peer.write_all(request("INVITE", "TCP", listens, "a1").as_bytes()).await.unwrap();
    bench.message().await;
    let bye = request("BYE", "TCP", bench.at, "a1");
    bench.send(listens, &bye).await;
    assert_eq!(read(&mut peer, bye.len()).await, bye);
    // Of another address than his own he may not say so.
    let mut thief = TcpStream::connect(bench.at).await.unwrap();
    let honest = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let at = honest.local_addr().unwrap();
    thief.write_all(request("INVITE", "TCP", at, "a2").as_bytes()).await.unwrap();
    bench.message().await;
    let secret = request("BYE", "TCP", bench.at, "a2");
    bench.send(at, &secret).await;
    let (mut right, _) = soon(honest.accept()).await.unwrap();
    assert_eq!(read(&mut right, secret.len()).await, secret);
}

#[tokio::test]
async fn who_refuses_the_connection_is_told_at_once() {
    let mut bench = Bench::new();
    let gone = free("127.0.0.1");
    bench.send(gone, &request("INVITE", "TCP", bench.at, "r1")).await;
    assert_eq!(bench.unsent().await, ("r1".to_owned(), Target::Addr(gone)));
    until_counted(&bench.metrics, "sip_connections_failed_total{reason=\"connect\"}", 1.0).await;
    assert_eq!(counted(&bench.metrics, "sip_unsent_total{reason=\"connect\"}"), 1.0);
}

#[tokio::test]
async fn what_is_lost_with_a_connection_is_said_once_more_and_then_told() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let (heard, invite) = (request("OPTIONS", "TCP", bench.at, "l0"), request("INVITE", "TCP", bench.at, "l1"));
    bench.send(to, &heard).await;
    let (mut first, _) = soon(listener.accept()).await.unwrap();
    read(&mut first, heard.len()).await;
    first.write_all(response("TCP", bench.at, "l0").as_bytes()).await.unwrap();
    bench.message().await;
    bench.send(to, &invite).await;
    read(&mut first, invite.len()).await;
    drop(first);
    // Only what nobody has answered.
    let (mut second, _) = soon(listener.accept()).await.unwrap();
    assert_eq!(read(&mut second, invite.len()).await, invite);
    drop(second);
    assert_eq!(bench.unsent().await, ("l1".to_owned(), Target::Addr(to)));
    assert_eq!(counted(&bench.metrics, "sip_unsent_total{reason=\"lost\"}"), 1.0);
}

#[tokio::test]
async fn a_ping_is_answered() {
    let bench = Bench::new();
    let mut peer = TcpStream::connect(bench.at).await.unwrap();
    for _ in 0..3 {
        peer.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut peer, 2).await, "\r\n");
    }
}

#[tokio::test]
async fn a_message_without_content_length_is_answered_400_and_the_connection_closed() {
    let bench = Bench::new();
    let mut peer = TcpStream::connect(bench.at).await.unwrap();
    let options = request("OPTIONS", "TCP", bench.at, "n1").replace("Content-Length: 0\r\n", "");
    peer.write_all(options.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(peer.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("SIP/2.0 400 Missing Content-Length\r\n"), "{answer}");
    until_counted(&bench.metrics, "sip_connections_failed_total{reason=\"framing\"}", 1.0).await;
}

#[tokio::test]
async fn of_a_stranger_not_a_byte_is_read() {
    let bench = Bench::new();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stranger = soon(socket.connect(bench.at)).await.unwrap();
    let _ = stranger.write_all(request("OPTIONS", "TCP", bench.at, "s").as_bytes()).await;
    assert!(is_closed(&mut stranger).await);
    until_counted(&bench.metrics, "sip_connections_refused_total{reason=\"source\"}", 1.0).await;
}

#[tokio::test]
async fn there_are_only_so_many_connections_in_all_and_of_one_address() {
    let mut bench = Bench::with(|config| config.limits = Limits { connections: 3, per_source: 2, ..limits() });
    let connect = async |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let mut peer = soon(socket.connect(bench.at)).await.unwrap();
        let _ = peer.write_all(b"\r\n\r\n").await;
        let mut pong = [0; 2];
        (soon(peer.read_exact(&mut pong)).await.is_ok(), peer)
    };
    let mut all = Vec::new();
    for (from, taken) in
        [("127.0.0.1", true), ("127.0.0.1", true), ("127.0.0.1", false), ("127.0.0.2", true), ("127.0.0.3", false)]
    {
        let (answered, peer) = connect(from).await;
        assert_eq!(answered, taken, "{from}");
        all.push(peer);
    }
    until_counted(&bench.metrics, "sip_connections_refused_total{reason=\"limit\"}", 1.0).await;
    until_counted(&bench.metrics, "sip_connections_refused_total{reason=\"source_limit\"}", 1.0).await;
    // We may still connect to others ourselves.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    bench.send(listener.local_addr().unwrap(), &request("OPTIONS", "TCP", bench.at, "own")).await;
    soon(listener.accept()).await.unwrap();
    bench.arrivals.close();
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let bench = Bench::with(|config| config.limits.idle = Duration::from_millis(100));
    let mut peer = TcpStream::connect(bench.at).await.unwrap();
    assert!(is_closed(&mut peer).await);
    until_counted(&bench.metrics, "sip_connections_failed_total{reason=\"idle\"}", 1.0).await;
}

#[tokio::test]
async fn with_tcp_switched_off_nobody_listens() {
    let bench = Bench::with(|config| config.tcp = false);
    assert!(TcpStream::connect(bench.at).await.is_err());
    // What came by UDP with a Via that says otherwise is answered as it came.
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = peer.local_addr().unwrap();
    bench.send(at, &response("TCP", at, "odd")).await;
    let mut buffer = [0; 2_000];
    assert_eq!(soon(peer.recv_from(&mut buffer)).await.unwrap().1, bench.at);
}
