//! The sockets of a call, and how they are read.
//!
//! RTP is read when its leg's slot comes. RTCP comes once in five seconds, so looking for it in every slot would be a system call in vain
//! 249 times of 250; one `epoll` a thread tells in one call which of all its other sockets have something, and as it is asked every tick, a
//! report's arrival is known to the millisecond, which the round-trip time needs.
//!
//! The RTP socket is connected to where the leg's packets go: the kernel need not find the way for each of them, and finds the socket for those
//! that come sooner, which saves an eighth of all that it does for a call. What comes from elsewhere is not lost by that: it comes to a second
//! socket of the same port. So a far end behind a NAT is found, and somebody else is refused and counted.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::net::connect_unspec;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::metrics::Sums;

/// Datagrams read of one socket at a time; a flood beyond it waits in the kernel, and is dropped there.
pub(super) const READ: usize = 16;
/// Larger datagrams are no telephone audio; they are cut, and fail to parse or to play.
const MTU: usize = 1_500;
/// Sockets that are told of in one tick; more are told of in the next.
const TOLD: usize = 64;

/// A port in use, and the one above it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) rtp: UdpSocket,
    /// RTP from elsewhere than where ours goes, on the same port.
    pub(super) strangers: UdpSocket,
    /// RFC 3550 §11.
    pub(super) rtcp: UdpSocket,
    /// Where our packets go, as it was told last.
    far_end: Option<SocketAddr>,
    /// The RTP socket is connected to it.
    connected: bool,
    /// … and nothing waits there any more that came before: all is from there, and the kernel need not say so with each packet.
    only: bool,
}

impl Pair {
    /// Binds them; fails when somebody else on this machine holds one of the ports.
    pub(super) fn bind(address: IpAddr, port: u16) -> std::io::Result<Pair> {
        let (rtp, rtcp) = (bind(address, port, false)?, bind(address, port + 1, false)?);
        // Nobody else may share the port, so it is shared for this moment only.
        SockRef::from(&rtp).set_reuse_address(true)?;
        let strangers = bind(address, port, true)?;
        for socket in [&rtp, &strangers] {
            SockRef::from(socket).set_reuse_address(false)?;
        }
        Ok(Pair { rtp, strangers, rtcp, far_end: None, connected: false, only: false })
    }

    /// Those that are told of by [`Others`], with what they bring.
    pub(super) fn others(&self) -> [(&UdpSocket, Other); 2] {
        [(&self.strangers, Other::Strangers), (&self.rtcp, Other::Reports)]
    }

    /// Our packets go there from now on.
    ///
    /// In every slot, and compared where it lies: a copy of an address, just written, can be read as a whole only when all that was written
    /// before it has reached the cache (150 ns, of a leg that is in none).
    #[inline(always)]
    pub(super) fn face(&mut self, far_end: &SocketAddr) {
        if self.far_end.as_ref() != Some(far_end) {
            self.turn_to(*far_end);
        }
    }

    #[cold]
    fn turn_to(&mut self, far_end: SocketAddr) {
        self.far_end = Some(far_end);
        // To connect to no address would be to connect to this machine.
        let is_somewhere = !far_end.ip().is_unspecified() && far_end.port() != 0;
        self.connected = is_somewhere && self.rtp.connect(far_end).is_ok();
        self.only = false;
        if !self.connected {
            // Where the kernel knows no way, each packet is refused and counted, as without a connection.
            let _ = connect_unspec(&self.rtp);
        }
    }

    /// Reads RTP from where ours goes, as [`Reader::read`] does.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader,
        most: usize,
        sums: &mut Sums,
        take: impl FnMut(SocketAddr, &[u8]),
    ) -> usize {
        let (packets, all) = reader.read_from(&self.rtp, self.only(), most, sums, take);
        self.only |= all && self.connected;
        packets
    }

    /// Who alone the RTP that is there can have come from.
    fn only(&self) -> Option<SocketAddr> {
        self.far_end.filter(|_| self.only)
    }

    /// Sends a packet.
    pub(super) fn send(&self, packet: &[u8], to: SocketAddr) -> std::io::Result<usize> {
        if !(self.connected && self.far_end == Some(to)) {
            return self.rtp.send_to(packet, to);
        }
        match self.rtp.send(packet) {
            // It is about an earlier packet, which found nobody there; this one was not sent for that.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.rtp.send(packet),
            sent => sent,
        }
    }
}

fn bind(address: IpAddr, port: u16, shared: bool) -> std::io::Result<UdpSocket> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if shared {
        socket.set_reuse_address(true)?;
    }
    // RFC 4594: telephony is Expedited Forwarding. A machine that does not let us mark packets still lets us send them.
    if address.is_ipv4() {
        let _ = socket.set_tos_v4(46 << 2);
    } else {
        let _ = socket.set_tclass_v6(46 << 2);
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Slots in a row that brought one packet each before a line is taken for one that does: 200 ms.
const STEADY: u8 = 10;
/// Once in so many slots everything that has come is read, so that a sender whose clock is fast is not left behind: 100 ms.
const ALL_IN: u64 = 5;

/// How a line brings its packets, from slot to slot.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Slots in a row that brought one each.
    steady: u8,
}

impl Pace {
    /// How many packets this slot reads. Most lines bring one a slot, and to find that there is no second one costs as much as half a packet:
    /// so a steady line is only asked for a second now and then. What waits on another would be taken for later than it came, and a line that
    /// wanders for one that does not.
    pub(super) fn most(&self, slot: u64) -> usize {
        if self.steady >= STEADY && !slot.is_multiple_of(ALL_IN) { 1 } else { READ }
    }

    /// So many came in a slot.
    pub(super) fn brought(&mut self, packets: usize) {
        self.steady = if packets == 1 { self.steady.saturating_add(1) } else { 0 };
    }
}

/// Reads sockets into one buffer.
pub(super) struct Reader {
    buffer: Box<[u8; MTU]>,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { buffer: Box::new([0; MTU]) }
    }

    /// Hands over what has come, up to so many datagrams; says how many.
    pub(super) fn read(
        &mut self,
        socket: &UdpSocket,
        most: usize,
        sums: &mut Sums,
        take: impl FnMut(SocketAddr, &[u8]),
    ) -> usize {
        self.read_from(socket, None, most, sums, take).0
    }

    /// The same, and whether no more is there. `only`: the one that they can have come from, if there is but one.
    fn read_from(
        &mut self,
        socket: &UdpSocket,
        only: Option<SocketAddr>,
        most: usize,
        sums: &mut Sums,
        mut take: impl FnMut(SocketAddr, &[u8]),
    ) -> (usize, bool) {
        let (mut taken, mut all) = (0, false);
        // One time more than that, for an error.
        for _ in 0..=most {
            if taken == most {
                break;
            }
            let come = match only {
                Some(from) => socket.recv(&mut *self.buffer).map(|length| (length, from)),
                None => socket.recv_from(&mut *self.buffer),
            };
            match come {
                Ok((length, from)) => {
                    taken += 1;
                    take(from, &self.buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    all = true;
                    break;
                }
                // An ICMP error for something we sent: the next read goes on.
                Err(_) => {}
            }
        }
        sums.received += taken as u64;
        (taken, all)
    }

    /// Forgets what has come.
    pub(super) fn discard(&mut self, socket: &UdpSocket) {
        for _ in 0..1_000 {
            if socket.recv_from(&mut *self.buffer).is_err() {
                return;
            }
        }
    }
}

/// What [`Others`] asks; fails when the system has no more file descriptors.
pub(super) fn epoll() -> std::io::Result<OwnedFd> {
    Ok(epoll::create(epoll::CreateFlags::CLOEXEC)?)
}

/// What has come, and is not what a slot reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// To [`Pair::strangers`].
    Strangers,
    /// To [`Pair::rtcp`].
    Reports,
}

/// Which sockets have something that no slot looks for.
pub(super) struct Others {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Others {
    pub(super) fn new(epoll: OwnedFd) -> Others {
        Others { epoll, events: Vec::with_capacity(TOLD) }
    }

    /// Looks at a port's sockets from now on, by this number.
    pub(super) fn watch(&self, pair: &Pair, number: usize) -> std::io::Result<()> {
        for (socket, other) in pair.others() {
            let data = epoll::EventData::new_u64((number as u64) << 1 | u64::from(other == Other::Reports));
            epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    /// Looks at them no longer.
    pub(super) fn forget(&self, pair: &Pair) {
        for (socket, _) in pair.others() {
            // One that was never looked at need not be forgotten.
            let _ = epoll::delete(&self.epoll, socket);
        }
    }

    /// The numbers of those that have something now.
    pub(super) fn ready(&mut self) -> impl Iterator<Item = (usize, Other)> {
        self.events.clear();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // It can only be interrupted, and is asked again in the next tick.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&now));
        self.events.iter().map(|event| {
            let data = event.data.u64();
            ((data >> 1) as usize, if data & 1 == 1 { Other::Reports } else { Other::Strangers })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A pair on ports that are free.
    fn pair() -> Pair {
        (0..100)
            .find_map(|_| {
                let port = UdpSocket::bind((HERE, 0)).ok()?.local_addr().ok()?.port() & !1;
                Pair::bind(HERE, port).ok()
            })
            .expect("two free ports")
    }

    fn phone() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((HERE, 0)).expect("a free port");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
        let address = socket.local_addr().expect("bound");
        (socket, address)
    }

    /// What has come to a socket. On loopback it is there when it is sent.
    fn come(socket: &UdpSocket) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        Reader::new().read(socket, READ, &mut Sums::default(), |_, datagram| all.push(datagram.to_vec()));
        all
    }

    #[test]
    fn a_steady_line_is_asked_for_a_second_packet_now_and_then_and_any_other_in_each_slot() {
        let mut pace = Pace::default();
        // A packet a slot, then one comes late: none, and two.
        let brings = |slot: u64| [1, 0, 2][if slot < 40 { 0 } else { (slot % 3) as usize }];
        let asked: Vec<u64> = (1..100)
            .filter(|slot| {
                let most = pace.most(*slot);
                pace.brought(most.min(brings(*slot)));
                most == READ
            })
            .collect();
        assert_eq!(asked, (1..=10).chain((15..40).step_by(5)).chain(40..100).collect::<Vec<_>>());
    }

    #[test]
    fn who_is_faced_is_heard_apart_from_all_others() {
        let mut pair = pair();
        let ours = pair.rtp.local_addr().expect("bound");
        let ((one, here), (other, there)) = (phone(), phone());
        for (from, to, stranger) in [(&one, here, &other), (&other, there, &one)] {
            pair.face(&to);
            from.send_to(b"known", ours).expect("sent");
            stranger.send_to(b"strange", ours).expect("sent");
            assert_eq!((come(&pair.rtp), come(&pair.strangers)), (vec![b"known".to_vec()], vec![b"strange".to_vec()]));
            pair.send(b"answer", to).expect("sent");
            let mut room = [0; 16];
            assert_eq!(from.recv_from(&mut room).expect("it comes"), (6, ours));
            pair.send(b"elsewhere", stranger.local_addr().expect("bound")).expect("sent");
            assert_eq!(stranger.recv_from(&mut room).expect("it comes"), (9, ours));
        }
    }

    #[test]
    fn what_came_before_the_connection_is_not_taken_for_the_far_ends() {
        let mut pair = pair();
        let ours = pair.rtp.local_addr().expect("bound");
        let ((stranger, strange), (known, there)) = (phone(), phone());
        let mut reader = Reader::new();
        // One a slot, as a steady line is read.
        let mut slot = |pair: &mut Pair| {
            let mut from = Vec::new();
            pair.read(&mut reader, 1, &mut Sums::default(), |sender, _| from.push(sender));
            from
        };
        assert_eq!(slot(&mut pair), []);
        assert_eq!(pair.only(), None, "it has no far end yet");
        pair.face(&strange);
        for _ in 0..2 {
            stranger.send_to(b"early", ours).expect("sent");
        }
        pair.face(&there);
        known.send_to(b"in time", ours).expect("sent");
        assert_eq!((slot(&mut pair), pair.only()), (vec![strange], None));
        assert_eq!((slot(&mut pair), pair.only()), (vec![strange], None));
        assert_eq!((slot(&mut pair), pair.only()), (vec![there], None));
        assert_eq!((slot(&mut pair), pair.only()), (vec![], Some(there)));
        known.send_to(b"later", ours).expect("sent");
        stranger.send_to(b"later", ours).expect("sent");
        assert_eq!((slot(&mut pair), slot(&mut pair)), (vec![there], vec![]));
        // It moves: what it has sent from where it was may wait still.
        known.send_to(b"last", ours).expect("sent");
        pair.face(&strange);
        assert_eq!((slot(&mut pair), pair.only()), (vec![there], None));
    }

    #[test]
    fn no_address_is_no_connection_and_everybody_is_heard() {
        let mut pair = pair();
        let ours = pair.rtp.local_addr().expect("bound");
        let (phone, there) = phone();
        for to in [there, SocketAddr::from(([0, 0, 0, 0], 0)), SocketAddr::from(([0, 0, 0, 0], 4_000))] {
            pair.face(&to);
            assert_eq!(pair.connected, to == there);
            phone.send_to(b"hello", ours).expect("sent");
            assert_eq!(come(&pair.rtp).len() + come(&pair.strangers).len(), 1);
        }
    }

    #[test]
    fn a_far_end_that_is_gone_for_a_while_costs_no_packet_of_its_return() {
        let mut pair = pair();
        let (phone, there) = phone();
        pair.face(&there);
        drop(phone);
        for _ in 0..3 {
            pair.send(b"for nobody", there).expect("the word about an earlier one is none about this one");
        }
        let phone = UdpSocket::bind(there).expect("free again");
        phone.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
        pair.send(b"for him", there).expect("sent");
        let mut room = [0; 16];
        assert_eq!(phone.recv(&mut room).expect("it comes"), 7);
        phone.send_to(b"one", pair.rtp.local_addr().expect("bound")).expect("sent");
        let mut read = 0;
        Reader::new().read(&pair.rtp, 1, &mut Sums::default(), |_, _| read += 1);
        assert_eq!(read, 1, "an error takes nobody's turn");
    }

    #[test]
    fn a_port_in_use_is_nobody_elses() {
        let pair = pair();
        let port = pair.rtp.local_addr().expect("bound").port();
        assert!(Pair::bind(HERE, port).is_err());
        assert!(bind(HERE, port, true).is_err(), "nor of one who would share it");
    }
}
