//! Datagrams with the address that they were sent to, so that a reply can come from there.
//!
//! A socket that is bound to all addresses gets requests to each of them. Without more, the kernel
//! chooses the source of a reply by its route, and a client that has connected its socket, or sits behind a
//! NAT, drops a reply from another address than it has asked. With `IP_PKTINFO` (ip(7)) and
//! `IPV6_RECVPKTINFO` (ipv6(7)) the address comes with the datagram and goes back with the reply, in the same
//! system calls. These take 0.5 us more for a datagram and its reply, beside 3 us, so a socket that has one
//! address is served by the plain ones.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};

/// Room for what comes with a datagram: both kinds of address need 72 bytes, and an inherited socket may have
/// more switched on. Aligned as `cmsghdr` is, which is read in place.
#[repr(align(8))]
struct Control([u8; 256]);

/// The address that a datagram was sent to, and that its reply has to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    V4(Ipv4Addr),
    /// With the number of the interface, of which a link-local address is one.
    V6(Ipv6Addr, u32),
    /// The socket has one address only, or the datagram came to a group: the kernel chooses.
    Any,
}

/// How many addresses a socket is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Replies come from there by themselves.
    ToOne,
    /// The kernel says with each datagram where it was sent to ([`report_asked_address`]).
    ToAll,
}

impl Bound {
    pub(crate) fn to(address: IpAddr) -> Self {
        if address.is_unspecified() { Bound::ToAll } else { Bound::ToOne }
    }
}

/// A datagram that has been received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// How much of the buffer it fills.
    pub(crate) len: usize,
    /// It was longer than the buffer.
    pub(crate) is_cut: bool,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) asked: Asked,
}

/// Has the kernel say which address each datagram was sent to, if the socket is bound to all: to `bound`.
pub(crate) fn report_asked_address(socket: &impl AsFd, bound: IpAddr) -> io::Result<()> {
    if Bound::to(bound) == Bound::ToAll {
        // On a dual-stack socket as well: of IPv4 datagrams, this one knows the address to reply from also
        // where they were sent to a group or to everybody.
        setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
        if bound.is_ipv6() {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
    }
    Ok(())
}

/// Receives one datagram, if one has come.
///
/// # Errors
/// `WouldBlock` if none has; else often the error of an earlier reply.
pub(crate) fn receive(socket: &impl AsFd, buffer: &mut [u8], bound: Bound) -> io::Result<Received> {
    if bound == Bound::ToOne {
        let room = buffer.len();
        // With `TRUNC` the length is that of the datagram, however much of it fits.
        let (_, len, peer) = recvfrom(socket, buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC)?;
        let peer = peer.and_then(|peer| peer.try_into().ok());
        let (len, is_cut) = (len.min(room), len > room);
        return Ok(Received { len, is_cut, peer, asked: Asked::Any });
    }
    let mut control = Control([0; 256]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_fd().as_raw_fd();
    let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control.0), flags)?;
    Ok(Received {
        len: message.bytes,
        is_cut: message.flags.contains(MsgFlags::MSG_TRUNC),
        peer: message.address.as_ref().and_then(socket_addr),
        asked: message.cmsgs().map_or(Asked::Any, asked),
    })
}

/// Sends a reply from the address that was asked. Never waits.
///
/// # Errors
/// If it is too large for a datagram, or the socket's buffer has no room.
pub(crate) fn reply(
    socket: &impl AsFd,
    bytes: &[u8],
    peer: SocketAddr,
    from: Asked,
) -> io::Result<()> {
    let (v4, v6);
    let control: &[ControlMessage<'_>] = match from {
        Asked::Any => {
            sendto(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &peer)?;
            return Ok(());
        }
        Asked::V4(address) => {
            let to_kernel = in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
            // The interface is left to the route, as for any reply: 0 names none.
            let unset = in_addr { s_addr: 0 };
            v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: to_kernel, ipi_addr: unset };
            &[ControlMessage::Ipv4PacketInfo(&v4)]
        }
        Asked::V6(address, interface) => {
            let to_kernel = in6_addr { s6_addr: address.octets() };
            let interface = if address.is_unicast_link_local() { interface } else { 0 };
            v6 = in6_pktinfo { ipi6_addr: to_kernel, ipi6_ifindex: interface };
            &[ControlMessage::Ipv6PacketInfo(&v6)]
        }
    };
    let (parts, peer) = ([IoSlice::new(bytes)], SockaddrStorage::from(peer));
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg(socket.as_fd().as_raw_fd(), &parts, control, flags, Some(&peer))?;
    Ok(())
}

/// What the kernel says of a datagram's address. An IPv4 datagram on a dual-stack socket has it twice, the
/// second time as a mapped IPv6 address, which is not needed.
fn asked(messages: impl Iterator<Item = ControlMessageOwned>) -> Asked {
    let mut found = Asked::Any;
    for message in messages {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                // `ipi_spec_dst` is the local address also where `ipi_addr` is a group or everybody. It
                // is not set in datagrams that came before they were asked for it.
                let address = |from: in_addr| Ipv4Addr::from(from.s_addr.to_ne_bytes());
                let (local, header) = (address(info.ipi_spec_dst), address(info.ipi_addr));
                if !local.is_unspecified() {
                    return Asked::V4(local);
                }
                if !header.is_multicast() && !header.is_broadcast() {
                    return Asked::V4(header);
                }
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                if !address.is_multicast() && address.to_ipv4_mapped().is_none() {
                    found = Asked::V6(address, info.ipi6_ifindex);
                }
            }
            _ => {}
        }
    }
    found
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}

/// Whether no datagram waits.
pub(crate) fn is_empty(socket: impl AsFd) -> bool {
    let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let first = rustix::net::recv(socket, &mut [0; 1][..], peek);
    first.is_err_and(|error| error == Errno::AGAIN)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    /// A socket that is bound, and told to say which address was asked.
    fn bound(to: &str) -> UdpSocket {
        let socket = UdpSocket::bind(to).expect("binds");
        let address = socket.local_addr().expect("bound").ip();
        report_asked_address(&socket, address).expect("sets");
        socket
    }

    /// A client that hears the address it has asked, and no other.
    fn client(asks: &str, port: u16) -> UdpSocket {
        let any = if asks.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let client = UdpSocket::bind(any).expect("binds");
        let ip: IpAddr = asks.parse().expect("an address");
        client.connect((ip, port)).expect("connects");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        client
    }

    /// The next datagram: sent over loopback, so it is there.
    fn next(socket: &UdpSocket, buffer: &mut [u8]) -> Received {
        let bound = Bound::to(socket.local_addr().expect("bound").ip());
        receive(socket, buffer, bound).expect("a datagram")
    }

    #[test]
    fn a_reply_comes_from_the_address_that_was_asked() {
        for (bound_to, asks, asked) in [
            ("0.0.0.0:0", "127.0.0.1", Asked::V4([127, 0, 0, 1].into())),
            ("0.0.0.0:0", "127.0.0.2", Asked::V4([127, 0, 0, 2].into())),
            ("[::]:0", "::1", Asked::V6(Ipv6Addr::LOCALHOST, 1)),
            ("[::]:0", "127.0.0.3", Asked::V4([127, 0, 0, 3].into())),
            // One address: nothing is asked of the kernel.
            ("127.0.0.4:0", "127.0.0.4", Asked::Any),
            ("[::1]:0", "::1", Asked::Any),
        ] {
            let socket = bound(bound_to);
            let client = client(asks, socket.local_addr().expect("bound").port());
            client.send(b"ask").expect("sends");
            let mut buffer = [0; 16];
            let received = next(&socket, &mut buffer);
            assert_eq!(received.asked, asked, "{asks} on {bound_to}");
            assert_eq!((received.len, received.is_cut), (3, false));
            let peer = received.peer.expect("a peer");
            assert_eq!(peer.port(), client.local_addr().expect("bound").port());
            reply(&socket, b"answer", peer, received.asked).expect("sends");
            assert_eq!(client.recv(&mut buffer).expect("a reply from there"), 6);
        }
    }

    #[test]
    fn a_datagram_that_came_before_the_socket_was_set_up_is_answered_from_there_too() {
        for (bound_to, asks) in
            [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.2")]
        {
            let socket = UdpSocket::bind(bound_to).expect("binds");
            let address = socket.local_addr().expect("bound");
            let client = client(asks, address.port());
            client.send(b"early").expect("sends");
            report_asked_address(&socket, address.ip()).expect("sets");
            let mut buffer = [0; 16];
            let received = next(&socket, &mut buffer);
            reply(&socket, b"answer", received.peer.expect("a peer"), received.asked)
                .expect("sends");
            assert_eq!(client.recv(&mut buffer).expect("a reply from there"), 6);
        }
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_marked() {
        for bound_to in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let socket = bound(bound_to);
            let client = client("127.0.0.1", socket.local_addr().expect("bound").port());
            for (len, is_cut) in [(0, false), (15, false), (16, false), (17, true), (60_000, true)]
            {
                client.send(&vec![7; len]).expect("sends");
                let received = next(&socket, &mut [0; 16]);
                assert_eq!((received.len, received.is_cut), (len.min(16), is_cut), "{len} bytes");
            }
        }
    }

    #[test]
    fn an_empty_socket_does_not_wait() {
        for to in [Bound::ToOne, Bound::ToAll] {
            let error =
                receive(&bound("0.0.0.0:0"), &mut [0; 16], to).expect_err("nothing has come");
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_reply_that_is_too_large_is_an_error() {
        let socket = bound("0.0.0.0:0");
        let peer = SocketAddr::from(([127, 0, 0, 1], socket.local_addr().expect("bound").port()));
        for from in [Asked::Any, Asked::V4(Ipv4Addr::LOCALHOST)] {
            assert!(reply(&socket, &vec![0; 65_508], peer, from).is_err());
        }
    }
}
