"""A Hugging Face Hub on loopback: what its clients ask of it, its error codes, and faults at will.

After https://huggingface.co/docs/hub/api and what huggingface_hub 2.4 sends and reads (`file_download.py`,
`_snapshot_download.py`, `lfs.py`, `_commit_api.py`). Large files are answered with a redirect, as the Hub does.
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from helpers.sampling.eval_set import NANO_BEIR

LARGE = (".safetensors", ".bin", ".parquet", ".onnx", ".h5", ".msgpack", ".ot")  # kept in LFS
KINDS = {"models": "", "datasets": "datasets/"}
REPO = r"(?P<kind>models|datasets)/(?P<name>[^/]+(?:/[^/]+)?)"


@dataclass
class Repo:
    """One commit of a repository, under its name and perhaps an older one that is redirected."""

    commit: str
    files: dict[str, bytes]
    private: bool = False


@dataclass
class Fault:
    """What to answer in the place of a file or a listing whose path matches, so many times."""

    pattern: str
    status: int = 0
    code: str = ""  # X-Error-Code
    cut_after: int = 0  # bytes of the body, then the connection is closed
    times: int = 10**9


@dataclass
class Hub:
    """Repositories by kind and name, and what was asked of them."""

    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    served: list[tuple[str, str]] = field(default_factory=list)  # name of the repository, path of the file

    def start(self) -> "Hub":
        hub = self

        class Handler(Answers, BaseHTTPRequestHandler):
            pass

        Handler.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.store = f"http://localhost:{self.server.server_port}"  # another host to the client, as the Hub's store is
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fetched(self, name: str) -> list[str]:
        """Return the paths of the files of a repository whose content was asked for, once for each time."""
        return sorted(path for repo, path in self.served if repo == name)


class Answers:
    """The routes."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        for pattern, answer in (
            (rf"/api/{REPO}/tree/(?P<revision>[^/]+)", self.tree),
            (rf"/api/{REPO}(/revision/(?P<revision>[^/]+))?", self.info),
            (r"/(?P<kind>datasets/)?(?P<name>[^/]+(/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", self.file),
            (r"/lfs/(?P<digest>\w+)", self.blob),
        ):
            if match := re.fullmatch(pattern, path):
                return answer(**match.groupdict())
        return self.refuse(404, "")

    def do_POST(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(("POST", path, ""))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/validate-yaml":
            return self.reply(200, {"errors": [], "warnings": []})
        if not self.headers.get("Authorization"):
            return self.refuse(401, "")
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
            if ("models", name) in self.hub.repos:
                return self.reply(409, {"error": "exists"})
            self.hub.repos["models", name] = Repo(
                "0" * 40, {}, private="private" in (wanted.get("visibility"), wanted.get("private") and "private")
            )
            return self.reply(200, {"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        if match := re.fullmatch(rf"/api/{REPO}/preupload/main", path):
            modes = [
                {"path": file["path"], "uploadMode": self.mode(file["path"]), "shouldIgnore": False, "oid": None}
                for file in json.loads(body)["files"]
            ]
            return self.reply(200, {"files": modes, "commitOid": self.hub.repos["models", match["name"]].commit})
        if re.fullmatch(r"/.+\.git/info/lfs/objects/batch", path):
            objects = [
                {**o, "actions": {"upload": {"href": f"{self.hub.store}/lfs/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            return self.reply(200, {"transfer": "basic", "objects": objects})
        if match := re.fullmatch(rf"/api/{REPO}/commit/main", path):
            return self.commit(self.hub.repos["models", match["name"]], body.decode(), match["name"])
        return self.refuse(404, "")

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        digest = self.path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == digest
        self.uploads[digest] = body
        self.reply(200, {})

    uploads: dict[str, bytes] = {}

    def commit(self, repo, lines, name):
        import base64

        for entry in map(json.loads, lines.splitlines()):
            value = entry["value"]
            if entry["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                repo.files[value["path"]] = self.uploads[value["oid"]]
        repo.commit = hashlib.sha1(lines.encode()).hexdigest()
        self.reply(
            200,
            {
                "success": True,
                "commitOid": repo.commit,
                "commitUrl": f"{self.hub.url}/{name}/commit/{repo.commit}",
                "hookOutput": "",
            },
        )

    @staticmethod
    def mode(path):
        return "lfs" if path.endswith(LARGE) else "regular"

    def find(self, kind, name, revision):
        """Return the repository, or None once the refusal or the redirect to its present name is sent."""
        if name in self.hub.renamed:
            self.send_response(307)
            self.send_header("Location", self.path.replace(name, self.hub.renamed[name], 1))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        repo = self.hub.repos.get((kind, name))
        if repo is None or (repo.private and not self.headers.get("Authorization")):
            self.refuse(401, "RepoNotFound")  # the Hub does not tell the two apart
        elif revision not in (None, "main", repo.commit):
            self.refuse(404, "RevisionNotFound")
        else:
            return repo
        return None

    def tree(self, kind, name, revision):
        repo = self.find(kind, name, revision)
        if repo and not self.fault(f"{name}/ tree"):
            self.reply(200, [self.entry(path, content) for path, content in repo.files.items()])

    def entry(self, path, content):
        entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        if self.mode(path) == "lfs":
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        return entry

    def info(self, kind, name, revision):
        repo = self.find(kind, name, revision)
        if repo and not self.fault(f"{name}/ info"):
            siblings = [{"rfilename": path} for path in repo.files]
            self.reply(200, {"id": name, "sha": repo.commit, "private": repo.private, "siblings": siblings, "tags": []})

    def file(self, kind, name, revision, file):
        repo = self.find("datasets" if kind else "models", name, revision)
        if repo is None or self.fault(f"{name}/{file}"):
            return
        if file not in repo.files:
            self.refuse(404, "EntryNotFound", {"X-Repo-Commit": repo.commit})
            return
        content = repo.files[file]
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{digest}"'}
        if self.mode(file) == "lfs":
            linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{digest}"'}
            self.send(302, b"", headers | linked | {"Location": f"{self.hub.store}/lfs/{digest}"})
        else:
            self.send(200, content, headers, name, file)

    def blob(self, digest):
        for (_, name), repo in list(self.hub.repos.items()):
            for path, content in repo.files.items():
                if self.mode(path) == "lfs" and hashlib.sha256(content).hexdigest() == digest:
                    self.send(200, content, {"ETag": f'"{digest}"'}, name, path)
                    return
        self.refuse(404, "EntryNotFound")

    def fault(self, path):
        for fault in self.hub.faults:
            if fault.times and not fault.cut_after and fnmatch(path, fault.pattern):
                fault.times -= 1
                self.refuse(fault.status, fault.code, {"Retry-After": "0"})  # the client waits a second then
                return True
        return False

    def refuse(self, status, code, headers=None):
        named = {"X-Error-Code": code} if code else {}
        self.send(status, b"{}", named | {"Content-Type": "application/json"} | (headers or {}))

    def reply(self, status, value):
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status, content, headers, name="", path=""):
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and status == 200:
            headers |= {"Content-Range": f"bytes {start[1]}-{len(content) - 1}/{len(content)}"}
            status, content = 206, content[int(start[1]) :]
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if path:
            self.hub.served.append((name, path))
        for fault in self.hub.faults:
            if path and fault.cut_after and fault.times and fnmatch(f"{name}/{path}", fault.pattern):
                fault.times -= 1
                self.wfile.write(content[: fault.cut_after])
                self.close_connection = True
                return
        self.wfile.write(content)


BERT, BERT_COMMIT = "google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594"
BGE_M3, BGE_M3_COMMIT = "BAAI/bge-m3", "5617a9f61b028005a4858fdac845db406aefb181"
MSMARCO, MSMARCO_COMMIT = "namespace-Pt/msmarco", "0123456789abcdef0123456789abcdef01234567"
CORPUS, CORPUS_COMMIT = "namespace-Pt/msmarco-corpus", "3210abcdef3210abcdef3210abcdef3210abcdef"
RERANKER, RERANKER_COMMIT = "BAAI/bge-reranker-base", "2cfc18c9415c912f9d8155881c133215df768a70"
NANO_COMMIT = "abcdef0123456789abcdef0123456789abcdef01"
CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: dev
    path: data/dev-*
---
# msmarco
"""


def read_folder(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def articles_hub(bert, bge_m3, pairs) -> Hub:
    """The three repositories of the article with all that lies in them, a reranker, and small tasks.

    Args:
        bert: folder of a BERT with safetensors.
        bge_m3: folder of a sentence-transformers model with safetensors; served as a `.bin`.
        pairs: rows of `query` and `positive`.
    """
    import io

    import pyarrow
    import pyarrow.parquet
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    def parquet(rows):
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
        return buffer.getvalue()

    others = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "model.onnx", "vocab.txt")
    others += ("coreml/fill-mask/config.json", "coreml/fill-mask/model.safetensors", "README.md")
    weights = io.BytesIO()
    torch.save(load_file(bge_m3 / "model.safetensors"), weights)
    m3 = {path: content for path, content in read_folder(bge_m3).items() if not path.endswith(".safetensors")}
    m3 |= {"pytorch_model.bin": weights.getvalue(), "sentencepiece.bpe.model": b"pieces", "README.md": b"# M3"}
    m3 |= {"colbert_linear.pt": b"pt", "sparse_linear.pt": b"pt", "imgs/bm25.jpg": b"jpg"}
    m3 |= {f"onnx/{name}": b"{}" for name in ("config.json", "tokenizer.json", "model.onnx", "model.onnx_data")}
    with TemporaryDirectory() as folder:
        AutoModelForSequenceClassification.from_pretrained(bert, num_labels=1).save_pretrained(folder)
        AutoTokenizer.from_pretrained(bert).save_pretrained(folder)
        reranker = read_folder(Path(folder))
    new = [{"query": pair["positive"][0][:20], "positive": [pair["query"] * 2]} for pair in pairs[1:6]]
    texts = {f"{i}": pair for i, pair in enumerate([*new, pairs[0]])}  # the last one is known
    nano = {
        "queries": [{"_id": f"q{i}", "text": pair["query"]} for i, pair in texts.items()],
        "corpus": [{"_id": f"d{i}", "text": pair["positive"][0]} for i, pair in texts.items()],
        "qrels": [{"query-id": f"q{i}", "corpus-id": f"d{i}"} for i in texts],
    }
    nano = {f"{part}/train-00000-of-00001.parquet": parquet(rows) for part, rows in nano.items()}
    corpus = [{"content": pair["positive"][0]} for pair in pairs[:10]] + [{"content": "not asked for"}]
    data = {"README.md": CARD.encode(), "data/dev-00000-of-00001.parquet": parquet(pairs)}
    data |= {f"data/train-0000{i}-of-00002.parquet": b"large" for i in range(2)}
    return Hub(
        {
            ("models", BERT): Repo(BERT_COMMIT, {name: b"other" for name in others} | read_folder(bert)),
            ("models", BGE_M3): Repo(BGE_M3_COMMIT, m3),
            ("models", RERANKER): Repo(RERANKER_COMMIT, reranker),
            ("datasets", MSMARCO): Repo(MSMARCO_COMMIT, data),
            ("datasets", CORPUS): Repo(CORPUS_COMMIT, {"data/train-00000-of-00001.parquet": parquet(corpus)}),
            **{("datasets", f"zeta-alpha-ai/Nano{name}"): Repo(NANO_COMMIT, nano) for name in NANO_BEIR},
        },
        renamed={"bert-base-uncased": BERT},
    )
