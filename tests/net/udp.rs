use super::*;

#[tokio::test]
async fn datagrams_go_both_ways() {
    let mut bench = Bench::new();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = peer.local_addr().unwrap();
    let options = request("OPTIONS", "UDP", at, "u1");
    peer.send_to(b"\r\n\r\n", bench.at).await.unwrap();
    peer.send_to(options.as_bytes(), bench.at).await.unwrap();
    assert_eq!(bench.message().await, (Udp, at, options));
    bench.send(at, &response("UDP", at, "u1")).await;
    let mut buffer = [0; 2_000];
    let (length, from) = soon(peer.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((&buffer[..length], from), (response("UDP", at, "u1").as_bytes(), bench.at));
}

/// ICMP port unreachable, from the queue of errors, with the address and the Call-ID of what was lost.
#[tokio::test]
async fn a_peer_that_is_gone_is_told_at_once() {
    let mut bench = Bench::new();
    let gone = free("127.0.0.1");
    bench.send(gone, &request("INVITE", "UDP", bench.at, "lost")).await;
    assert_eq!(bench.kept_back().await, ("lost".to_owned(), Target::Addr(gone), "connection refused".to_owned()));
    // Answers that are lost are nobody's grief; and the error of one datagram keeps no other from going out.
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = peer.local_addr().unwrap();
    for n in 0..20 {
        bench.send(gone, &response("UDP", gone, "answer")).await;
        bench.send(at, &request("OPTIONS", "UDP", bench.at, &format!("o{n}"))).await;
    }
    let mut buffer = [0; 2_000];
    for n in 0..20 {
        let length = soon(peer.recv(&mut buffer)).await.unwrap();
        assert!(String::from_utf8_lossy(&buffer[..length]).contains(&format!("Call-ID: o{n}\r\n")));
    }
    assert!(bench.arrivals.try_recv().is_err());
}

#[tokio::test]
async fn ipv6_stands_beside_ipv4() {
    // A machine without IPv6 has nothing to test.
    let Ok(probe) = std::net::UdpSocket::bind("[::1]:0") else { return };
    drop(probe);
    let (v4, v6) = (free("127.0.0.1"), free("::1"));
    let mut bench = Bench::at(v4, |config| config.listen.push(v6));
    for ip in ["127.0.0.1:0", "[::1]:0"] {
        let peer = UdpSocket::bind(ip).await.unwrap();
        let at = peer.local_addr().unwrap();
        let ours = if at.is_ipv6() { v6 } else { v4 };
        let options = request("OPTIONS", "UDP", at, "six");
        peer.send_to(options.as_bytes(), ours).await.unwrap();
        assert_eq!(bench.message().await, (Udp, at, options));
        bench.send(at, &response("UDP", at, "six")).await;
        let mut buffer = [0; 2_000];
        assert_eq!(soon(peer.recv_from(&mut buffer)).await.unwrap().1, ours);
        let gone = free(if at.is_ipv6() { "::1" } else { "127.0.0.1" });
        bench.send(gone, &request("BYE", "UDP", ours, "gone")).await;
        assert_eq!(bench.unsent().await, ("gone".to_owned(), Target::Addr(gone)));
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_the_key() {
    let bench = Bench::new();
    let allowed: Allowed = Arc::new(|_| true);
    let error = Net::bind(&config(&[bench.at]), allowed.clone(), Arc::default()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("[sip] listen = \"{}\": ", bench.at)), "{error}");
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Net::bind(&config(&[tcp.local_addr().unwrap()]), allowed, Arc::default()).unwrap_err().to_string();
    assert!(error.contains("in use") && error.contains("(tcp)"), "{error}");
}
