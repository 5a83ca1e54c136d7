//! Handshakes between real peers over an in-memory pipe.

use std::sync::Arc;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P384_SHA384, date_time_ymd,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

/// A fleet CA and what it certifies.
pub(crate) struct Fleet {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) der: Vec<u8>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self {
            issuer: Issuer::new(params, key),
            der,
        }
    }

    pub(crate) fn identity(&self, usage: ExtendedKeyUsagePurpose, expired: bool) -> Arc<Identity> {
        self.certified(usage, expired, &[])
    }

    /// One whose certificate is shown with these links.
    fn showing(&self, usage: ExtendedKeyUsagePurpose, links: &[&Vec<u8>]) -> Arc<Identity> {
        self.certified(usage, false, links)
    }

    fn certified(
        &self,
        usage: ExtendedKeyUsagePurpose,
        expired: bool,
        links: &[&Vec<u8>],
    ) -> Arc<Identity> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let signer = LocalSigner::from_pkcs8(&key.serialize_der()).unwrap();
        let chain = links.iter().map(|link| link.to_vec());
        let chain = [vec![certificate.der().to_vec()], chain.collect()].concat();
        Arc::new(Identity::new(chain, Arc::new(signer)))
    }

    pub(crate) fn server(&self) -> Arc<Identity> {
        self.identity(ExtendedKeyUsagePurpose::ServerAuth, false)
    }
}

/// Sends a byte each way: a client's certificate is judged after its side of the handshake is done.
async fn shake(
    acceptor: Acceptor,
    connector: Connector,
    name: &str,
) -> Result<Option<Vec<Vec<u8>>>, ChannelError> {
    let (near, far) = duplex(1 << 16);
    let serving = tokio::spawn(async move {
        let (mut stream, chain) = acceptor.accept(far).await?;
        stream.write_all(b"!").await.unwrap();
        Ok::<_, ChannelError>(chain)
    });
    let mut stream = connector.connect(name, near).await?;
    let mut byte = [0];
    stream
        .read_exact(&mut byte)
        .await
        .map_err(ChannelError::Handshake)?;
    serving.await.unwrap()
}

pub(crate) fn acceptor(fleet: &Fleet, identity: Arc<Identity>) -> Acceptor {
    Acceptor::new(move || Arc::clone(&identity), &[&fleet.der]).unwrap()
}

#[tokio::test]
async fn a_client_without_certificate_is_accepted_as_nobody() {
    let fleet = Fleet::new();
    let connector = Connector::anonymous(&fleet.der).unwrap();
    let chain = shake(acceptor(&fleet, fleet.server()), connector, "server.test")
        .await
        .unwrap();
    assert_eq!(chain, None);
}

#[tokio::test]
async fn a_client_of_the_fleet_is_accepted_with_its_chain() {
    let fleet = Fleet::new();
    let client = fleet.identity(ExtendedKeyUsagePurpose::ClientAuth, false);
    let connector = Connector::authenticated(move || Arc::clone(&client), &fleet.der).unwrap();
    let chain = shake(acceptor(&fleet, fleet.server()), connector, "server.test")
        .await
        .unwrap();
    assert_eq!(chain.map(|chain| chain.len()), Some(1));
}

#[tokio::test]
async fn clients_of_another_fleet_or_usage_or_time_are_refused() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let wrong = [
        other.identity(ExtendedKeyUsagePurpose::ClientAuth, false),
        fleet.identity(ExtendedKeyUsagePurpose::ServerAuth, false),
        fleet.identity(ExtendedKeyUsagePurpose::ClientAuth, true),
    ];
    for client in wrong {
        let connector = Connector::authenticated(move || Arc::clone(&client), &fleet.der).unwrap();
        let shaken = shake(acceptor(&fleet, fleet.server()), connector, "server.test").await;
        assert!(
            matches!(shaken, Err(ChannelError::Handshake(_))),
            "{shaken:?}"
        );
    }
}

#[tokio::test]
async fn servers_of_another_fleet_name_usage_or_time_are_refused() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let wrong = [
        (other.server(), "server.test"),
        (fleet.server(), "another.test"),
        (
            fleet.identity(ExtendedKeyUsagePurpose::ClientAuth, false),
            "server.test",
        ),
        (
            fleet.identity(ExtendedKeyUsagePurpose::ServerAuth, true),
            "server.test",
        ),
    ];
    for (server, name) in wrong {
        let connector = Connector::anonymous(&fleet.der).unwrap();
        let shaken = shake(acceptor(&fleet, server), connector, name).await;
        assert!(
            matches!(shaken, Err(ChannelError::Handshake(_))),
            "{name}: {shaken:?}"
        );
    }
}

/// What comes of a request to a server that does this after its handshake.
async fn requested<S: Future<Output = ()> + Send + 'static>(
    acceptor: Acceptor,
    connector: Connector,
    answer: impl FnOnce(Result<TlsStream<tokio::io::DuplexStream>, ChannelError>) -> S + Send + 'static,
) -> ChannelError {
    let (near, far) = duplex(1 << 16);
    let serving = tokio::spawn(async move {
        let accepted = acceptor.accept(far).await;
        answer(accepted.map(|(stream, _)| stream)).await;
    });
    let stream = connector.connect("server.test", near).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let request = sender.send_request(Request::new(Empty::<Bytes>::new()));
    let (answered, _) = tokio::join!(request, connection);
    serving.await.unwrap();
    answered.unwrap_err().into()
}

#[tokio::test]
async fn a_server_that_refuses_a_client_in_its_answer_is_not_away() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let stranger = other.identity(ExtendedKeyUsagePurpose::ClientAuth, false);
    let connector = Connector::authenticated(move || Arc::clone(&stranger), &fleet.der).unwrap();
    let acceptor = acceptor(&fleet, fleet.server());
    let refused = requested(acceptor, connector, async |accepted| {
        assert!(matches!(accepted, Err(ChannelError::Handshake(_))));
    });
    let refused = refused.await;
    assert!(matches!(refused, ChannelError::Http(_)), "{refused:?}");
    assert_eq!(refused.fault(), Fault::Untrusted, "{refused:?}");
    assert!(refused.to_string().contains("alert"), "{refused}");
}

#[tokio::test]
async fn a_server_that_breaks_off_is_away_and_one_that_speaks_no_http_is_not() {
    let fleet = Fleet::new();
    for (answer, fault) in [(&b""[..], Fault::Away), (b"220 ready\r\n", Fault::Unusable)] {
        let connector = Connector::anonymous(&fleet.der).unwrap();
        let acceptor = acceptor(&fleet, fleet.server());
        let failed = requested(acceptor, connector, async move |accepted| {
            let mut stream = accepted.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let failed = failed.await;
        assert_eq!(failed.fault(), fault, "{failed:?}");
    }
}

#[tokio::test]
async fn a_stranger_is_told_from_a_connection_that_breaks() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let connector = || Connector::anonymous(&fleet.der).unwrap();
    let stranger = shake(acceptor(&other, other.server()), connector(), "server.test").await;
    assert_eq!(stranger.unwrap_err().fault(), Fault::Untrusted);
    let (near, far) = duplex(1 << 16);
    drop(far);
    let broken = connector().connect("server.test", near).await;
    assert_eq!(broken.unwrap_err().fault(), Fault::Away);
    assert_eq!(ChannelError::TimedOut.fault(), Fault::Away);
    assert_eq!(ChannelError::TooLarge { limit: 1 }.fault(), Fault::Unusable);
}

#[tokio::test]
async fn a_rotated_identity_is_shown_to_the_next_connection() {
    let fleet = Fleet::new();
    let current = Arc::new(std::sync::Mutex::new(
        fleet.identity(ExtendedKeyUsagePurpose::ServerAuth, true),
    ));
    let shown = Arc::clone(&current);
    let acceptor =
        Acceptor::new(move || Arc::clone(&shown.lock().unwrap()), &[&fleet.der]).unwrap();
    let connector = Connector::anonymous(&fleet.der).unwrap();
    assert!(
        shake(acceptor.clone(), connector.clone(), "server.test")
            .await
            .is_err()
    );
    *current.lock().unwrap() = fleet.server();
    assert!(shake(acceptor, connector, "server.test").await.is_ok());
}

#[tokio::test]
async fn every_handshake_is_full_and_hybrid() {
    let fleet = Fleet::new();
    let (acceptor, connector) = (
        acceptor(&fleet, fleet.server()),
        Connector::anonymous(&fleet.der).unwrap(),
    );
    // The second has whatever the first left to resume from.
    for _ in 0..2 {
        let (near, far) = duplex(1 << 16);
        let acceptor = acceptor.clone();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = acceptor.accept(far).await.unwrap();
            stream.write_all(b"!").await.unwrap();
        });
        let mut stream = connector.connect("server.test", near).await.unwrap();
        // Tickets would have come before this byte.
        stream.read_exact(&mut [0]).await.unwrap();
        serving.await.unwrap();
        let (_, link) = stream.get_ref();
        assert_eq!(link.handshake_kind(), Some(rustls::HandshakeKind::Full));
        let group = link.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
    }
}

#[tokio::test]
async fn tls_1_2_is_refused_before_any_certificate_is_shown() {
    let fleet = Fleet::new();
    let (mut near, far) = duplex(1 << 16);
    let acceptor = acceptor(&fleet, fleet.server());
    let serving = tokio::spawn(async move { acceptor.accept(far).await.map(drop) });
    near.write_all(&client_hello_1_2()).await.unwrap();
    let mut alert = [0; 7];
    near.read_exact(&mut alert).await.unwrap();
    // RFC 8446 section 6: record type alert (21), level fatal (2), protocol_version (70).
    assert_eq!((alert[0], alert[5], alert[6]), (21, 2, 70));
    assert!(matches!(
        serving.await.unwrap(),
        Err(ChannelError::Handshake(_))
    ));
}

/// A ClientHello (RFC 5246 section 7.4.1.2) without supported_versions: TLS 1.2 at most.
fn client_hello_1_2() -> Vec<u8> {
    let length = |part: &[u8]| u8::try_from(part.len()).unwrap();
    let mut body = vec![3, 3];
    body.extend([7; 32]); // random
    body.push(0); // no session id
    body.extend([0, 2, 0xc0, 0x2c]); // TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
    body.extend([1, 0]); // no compression
    // supported_groups: secp384r1; signature_algorithms: ecdsa_secp384r1_sha384
    let extensions = [0, 10, 0, 4, 0, 2, 0, 24, 0, 13, 0, 4, 0, 2, 5, 3];
    body.extend([0, length(&extensions)]);
    body.extend(extensions);
    let mut hello = vec![1, 0, 0, length(&body)];
    hello.extend(body);
    let mut record = vec![22, 3, 1, 0, length(&hello)];
    record.extend(hello);
    record
}

#[tokio::test]
async fn both_ends_of_a_connection_have_its_binding_and_no_other_connection_has() {
    let fleet = Fleet::new();
    let (acceptor, connector) = (
        acceptor(&fleet, fleet.server()),
        Connector::anonymous(&fleet.der).unwrap(),
    );
    let mut bindings = Vec::new();
    for _ in 0..2 {
        let (near, far) = duplex(1 << 16);
        let (client, server) =
            tokio::join!(connector.connect("server.test", near), acceptor.accept(far));
        let binding = channel_binding(&client.unwrap()).unwrap();
        assert_eq!(binding, channel_binding(&server.unwrap().0).unwrap());
        bindings.push(binding);
    }
    assert_ne!(bindings[0], bindings[1]);
}

/// A CA certified by another one, for these uses or for all, DER.
fn cross(subject: &Fleet, issuer: &Fleet, uses: &[ExtendedKeyUsagePurpose]) -> Vec<u8> {
    let mut link = CertificateParams::default();
    link.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    link.extended_key_usages = uses.to_vec();
    let link = link.signed_by(subject.issuer.key(), &issuer.issuer);
    link.unwrap().der().to_vec()
}

/// A former CA's key in other hands, towards who has followed to the new one: the link back, which is good for clients only, makes no
/// server of it.
#[tokio::test]
async fn a_server_by_a_former_ca_is_refused_with_the_link_to_it() {
    let (old, new, evil) = (Fleet::new(), Fleet::new(), Fleet::new());
    let back = cross(&old, &new, &[ExtendedKeyUsagePurpose::ClientAuth]);
    let shaken = async |by: &Fleet, links: &[&Vec<u8>], pinned: &Fleet| {
        let identity = by.showing(ExtendedKeyUsagePurpose::ServerAuth, links);
        let connector = Connector::anonymous(&pinned.der).unwrap();
        shake(acceptor(pinned, identity), connector, "server.test").await
    };
    let onward = cross(&evil, &old, &[]);
    for (by, links) in [(&old, &[&back][..]), (&evil, &[&onward, &back])] {
        let refused = shaken(by, links, &new).await.unwrap_err();
        assert_eq!(refused.fault(), Fault::Untrusted);
    }
    // It is the link's word: without it, each of the two would be.
    let any = cross(&old, &new, &[]);
    assert!(shaken(&old, &[&any], &new).await.is_ok());
    assert!(shaken(&evil, &[&onward, &any], &new).await.is_ok());
    // Clients by the former CA are accepted with it, and servers of the new one by who has not followed.
    let client = old.showing(ExtendedKeyUsagePurpose::ClientAuth, &[&back]);
    let connector = Connector::authenticated(move || Arc::clone(&client), &new.der);
    let accepted = shake(
        acceptor(&new, new.server()),
        connector.unwrap(),
        "server.test",
    )
    .await;
    assert_eq!(accepted.unwrap().map(|chain| chain.len()), Some(2));
    let on = cross(&new, &old, &[]);
    assert!(shaken(&new, &[&on], &old).await.is_ok());
}

/// A server of the new CA, which shows the link to it; and clients of both CAs.
#[tokio::test]
async fn two_cas_that_are_linked_serve_side_by_side() {
    let (old, new) = (Fleet::new(), Fleet::new());
    let link = cross(&new, &old, &[]);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = params.signed_by(&key, &new.issuer).unwrap();
    let shows = |chain: Vec<Vec<u8>>| {
        let signer = LocalSigner::from_pkcs8(&key.serialize_der()).unwrap();
        let identity = Arc::new(Identity::new(chain, Arc::new(signer)));
        Acceptor::new(move || Arc::clone(&identity), &[&new.der, &old.der]).unwrap()
    };
    let leaf = leaf.der().to_vec();
    let linked = shows(vec![leaf.clone(), link]);
    for client in [&old, &new] {
        let shown = client.identity(ExtendedKeyUsagePurpose::ClientAuth, false);
        let connector = Connector::authenticated(move || Arc::clone(&shown), &client.der);
        let shaken = shake(linked.clone(), connector.unwrap(), "server.test").await;
        assert_eq!(shaken.unwrap().map(|chain| chain.len()), Some(1));
    }
    // Without the link who pins the old one takes it for a stranger's, and so does who pins neither.
    let connector = Connector::anonymous(&old.der).unwrap();
    let shaken = shake(shows(vec![leaf]), connector, "server.test").await;
    assert_eq!(shaken.unwrap_err().fault(), Fault::Untrusted);
    let connector = Connector::anonymous(&Fleet::new().der).unwrap();
    let shaken = shake(linked, connector, "server.test").await;
    assert_eq!(shaken.unwrap_err().fault(), Fault::Untrusted);
}

/// Whether each end takes what is spoken for HTTP/2.
async fn spoken(acceptor: Acceptor, connector: Connector) -> Result<(bool, bool), ChannelError> {
    let (near, far) = duplex(1 << 16);
    let (accepted, connected) =
        tokio::join!(acceptor.accept(far), connector.connect("server.test", near));
    Ok((speaks_http2(&accepted?.0), speaks_http2(&connected?)))
}

#[tokio::test]
async fn http_2_is_spoken_where_both_ends_say_so() {
    let fleet = Fleet::new();
    let plain = || acceptor(&fleet, fleet.server());
    let connector = || Connector::anonymous(&fleet.der).unwrap();
    let with_http2 = || connector().with_http2();
    assert_eq!(
        spoken(plain().with_http2(), with_http2()).await.unwrap(),
        (true, true)
    );
    assert_eq!(
        spoken(plain().with_http2(), connector()).await.unwrap(),
        (false, false)
    );
    assert_eq!(spoken(plain(), with_http2()).await.unwrap(), (false, false));
}
