//! The JWT bearer flow: a key pair for the connected app, and the check of an assertion.

use std::sync::OnceLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::DecodingKey;
use rsa::RsaPrivateKey;
use rsa::pkcs8::EncodePrivateKey;
use rsa::pkcs8::EncodePublicKey;
use rsa::pkcs8::LineEnding;
use serde_json::Map;
use serde_json::Value;

use super::Refusal;
use crate::error::Error;

/// How far ahead an assertion may end, in seconds; the real service allows some minutes.
const LONGEST: i64 = 300;
/// How long an `exp` in milliseconds may be over.
const LATE: i64 = 180;

/// Makes a pair, keeps the public half, returns the private one.
pub(in super::super) fn make_pair(public: &OnceLock<String>) -> Result<String, Error> {
    let wrong = |cause: &dyn std::fmt::Display| Error::bug(format!("a key pair could not be made: {cause}"));
    let private = RsaPrivateKey::new(&mut Random, 2048).map_err(|cause| wrong(&cause))?;
    let pem = private.to_public_key().to_public_key_pem(LineEnding::LF).map_err(|cause| wrong(&cause))?;
    public.set(pem).map_err(|_| {
        Error::config("the sandbox's connected app has a key already").hint("use the private key that belongs to it")
    })?;
    Ok(private.to_pkcs8_pem(LineEnding::LF).map_err(|cause| wrong(&cause))?.to_string())
}

/// The operating system's randomness in the form that `rsa` wants.
struct Random;

impl rsa::rand_core::RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        rand::random()
    }

    fn next_u64(&mut self) -> u64 {
        rand::random()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        rand::fill(bytes);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for Random {}

/// Checks an assertion; returns its `sub`, or what the service would say.
pub(super) fn check(
    assertion: &str,
    public_key: Option<&String>,
    client_id: &str,
    audiences: &[&str],
    now: i64,
) -> Result<String, Refusal> {
    let wrong = |description| ("invalid_grant", description);
    let invalid = || wrong("invalid assertion");
    let (message, signature) = assertion.rsplit_once('.').ok_or_else(invalid)?;
    let (header, claims) = message.split_once('.').ok_or_else(invalid)?;
    let header = decode(header).ok_or_else(invalid)?;
    let claims = decode(claims).ok_or_else(invalid)?;
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Err(invalid());
    }
    if claims.get("iss").and_then(Value::as_str) != Some(client_id) {
        return Err(("invalid_client_id", "client identifier invalid"));
    }
    let unregistered = || wrong("no client credentials registered");
    let key = public_key.ok_or_else(unregistered)?;
    let key = DecodingKey::from_rsa_pem(key.as_bytes()).map_err(|_| unregistered())?;
    let good = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::RS256);
    if !good.unwrap_or(false) {
        return Err(invalid());
    }
    let audience = claims.get("aud").and_then(Value::as_str).unwrap_or_default();
    if !audiences.contains(&audience.trim_end_matches('/')) {
        return Err(wrong("audience is invalid"));
    }
    let (ends, late) = end(claims.get("exp")).ok_or_else(invalid)?;
    if ends + late <= now || ends > now + LONGEST {
        return Err(wrong("expired authorization code"));
    }
    claims.get("sub").and_then(Value::as_str).map(str::to_owned).ok_or_else(invalid)
}

/// `exp` in seconds, and by how many it may be over: real clients send seconds, seconds as text, or milliseconds that are
/// hardly ahead.
fn end(value: Option<&Value>) -> Option<(i64, i64)> {
    let value = match value? {
        Value::Number(number) => number.as_f64()? as i64,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    Some(if value > 100_000_000_000 { (value / 1000, LATE) } else { (value, 0) })
}

fn decode(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
