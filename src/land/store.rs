//! Where the lake lies: a folder, a bucket, or memory, each as an object store that creates files atomically.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::str::FromStr;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::aws::AmazonS3Builder;
use object_store::aws::AmazonS3ConfigKey;
use object_store::aws::S3ConditionalPut;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use crate::clock;
use crate::error::Error;
use crate::error::Result;

/// An opened place: its URL (ending in `/`), the store at the root of the storage, and the lake's path in it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) url: Url,
    pub(crate) root: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
}

impl Place {
    /// Whether it is on a disk of this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.url.scheme() == "file"
    }
}

/// Opens `url`: a path (relative ones lie inside `project`), `file://`, `s3://bucket/prefix`, or `memory:///`.
pub(crate) fn open(url: &str, project: &FilePath, options: &BTreeMap<String, String>) -> Result<Place> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        None => folder(&project.join(url)),
        Some("file") => {
            let path = parse(url)?
                .to_file_path()
                .map_err(|()| Error::config(format!("`{url}` doesn't name a folder of this machine")))?;
            folder(&path)
        }
        Some("s3" | "s3a") => bucket(&parse(&url.replacen("s3a://", "s3://", 1))?, options),
        Some("memory") => {
            let url = with_slash(parse(url)?);
            Ok(Place { prefix: prefix_of(&url)?, url, root: Arc::new(InMemory::new()) })
        }
        Some(scheme) => Err(Error::config(format!("the lake can't be kept at `{scheme}://`"))
            .hint("use a folder such as `.sf2gs/lake`, or `s3://bucket/prefix`")),
    }
}

/// A place on a store that the caller has opened.
pub(crate) fn on(url: &str, root: Arc<dyn ObjectStore>) -> Result<Place> {
    let url = with_slash(parse(url)?);
    Ok(Place { prefix: prefix_of(&url)?, url, root })
}

/// Makes sure that a file can be created only once: some stores that speak S3 overwrite silently, and two writers would
/// then lose each other's commits.
pub(crate) async fn check_conditional_put(place: &Place) -> Result<()> {
    let path = place.prefix.clone().join(format!("_probe-{}", clock::random_id()));
    let create = || async {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        place.root.put_opts(&path, PutPayload::from_static(b"sf2gs"), options).await
    };
    create().await.map_err(|error| failed("write to the lake", error))?;
    let second = create().await;
    place.root.delete(&path).await.map_err(|error| failed("write to the lake", error))?;
    match second {
        Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        _ => Err(Error::config(format!("the store at {} overwrites a file that must be created once", place.url))
            .hint("use a store with conditional writes (`If-None-Match`), such as Amazon S3 or MinIO")),
    }
}

fn parse(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| Error::config(format!("`{url}` isn't a URL: {error}")))
}

fn folder(path: &FilePath) -> Result<Place> {
    let unusable = |error: std::io::Error| {
        Error::unavailable(format!("the lake's folder {} can't be used: {error}", path.display())).source(error)
    };
    std::fs::create_dir_all(path).map_err(unusable)?;
    let path = path.canonicalize().map_err(unusable)?;
    let url = Url::from_directory_path(&path)
        .map_err(|()| Error::config(format!("{} can't be written as a URL", path.display())))?;
    let prefix = Path::from_absolute_path(&path)
        .map_err(|error| Error::config(format!("{} can't hold a lake: {error}", path.display())))?;
    Ok(Place { url, root: Arc::new(LocalFileSystem::new().with_automatic_cleanup(true)), prefix })
}

/// Options are named as object_store names them (`region`, `endpoint`, `access_key_id`, `allow_http`, …); what isn't
/// given comes from the environment (`AWS_…`), a container's role or the machine's.
fn bucket(url: &Url, options: &BTreeMap<String, String>) -> Result<Place> {
    let mut builder = AmazonS3Builder::from_env()
        .with_url(url.as_str())
        // A commit is the creation of an object that must not exist yet; without this the store would overwrite it.
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    for (key, value) in options {
        let known = AmazonS3ConfigKey::from_str(&key.to_ascii_lowercase()).map_err(|_| {
            Error::config(format!("`{key}` isn't an option of an S3 lake"))
                .hint("such as region, endpoint, access_key_id, secret_access_key, allow_http")
        })?;
        builder = builder.with_config(known, value);
    }
    let store = builder
        .build()
        .map_err(|error| Error::config(format!("the lake at {url} can't be opened: {error}")).source(error))?;
    let url = with_slash(url.clone());
    Ok(Place { prefix: prefix_of(&url)?, url, root: Arc::new(store) })
}

fn with_slash(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

fn prefix_of(url: &Url) -> Result<Path> {
    Path::from_url_path(url.path()).map_err(|error| Error::config(format!("`{url}` can't hold a lake: {error}")))
}

/// Turns a storage failure into ours.
pub(crate) fn failed(what: &str, error: object_store::Error) -> Error {
    let kind = match &error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Error::access(format!("{what}: the store refused it"))
                .hint("check the rights on the lake's folder or bucket, and the keys in the environment")
        }
        _ => Error::unavailable(format!("{what}: {error}")),
    };
    kind.source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_their_url() {
        let project = tempfile::tempdir().unwrap();
        let none = BTreeMap::new();
        let place = open(".sf2gs/lake", project.path(), &none).unwrap();
        assert_eq!(place.url.scheme(), "file");
        assert!(project.path().join(".sf2gs/lake").is_dir());
        let options = BTreeMap::from([("region".to_owned(), "eu-central-1".to_owned())]);
        let place = open("s3://bucket/some/lake", project.path(), &options).unwrap();
        assert_eq!((place.url.as_str(), place.prefix.as_ref()), ("s3://bucket/some/lake/", "some/lake"));
        assert!(open("ftp://x/y", project.path(), &none).unwrap_err().hint_text().is_some());
        let wrong = BTreeMap::from([("regoin".to_owned(), "x".to_owned())]);
        assert!(open("s3://bucket/x", project.path(), &wrong).unwrap_err().message().contains("regoin"));
    }
}
