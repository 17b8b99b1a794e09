"""A Hub on this machine: one repository, of the files in a folder, over HTTP."""

import hashlib
import http.server
import json
import threading
from urllib.parse import unquote

NAME, COMMIT = 'someone/digits', 'c0ffee' + 34 * '0'


class Hub:
    """Serves a folder as a repository.

    Args:
        folder: The folder.

    Attributes:
        refusal: What is answered instead, an error code of the Hub's; or None.
        asked: The paths that were asked for.
    """

    def __init__(self, folder):
        self.folder, self.refusal, self.asked = folder, None, []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def files(self):
        return [path for path in sorted(self.folder.rglob('*')) if path.is_file()]

    def entry(self, path):
        content = path.read_bytes()
        entry = dict(
            type='file',
            path=str(path.relative_to(self.folder)),
            size=len(content),
            oid=hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest(),
        )
        if path.suffix == '.safetensors':
            sha = hashlib.sha256(content).hexdigest()
            entry['lfs'] = dict(oid=sha, size=len(content), pointerSize=130)
        return entry

    def answer(self, request):
        path = unquote(request.path.partition('?')[0])
        self.asked.append(path)
        headers, body, status = {}, b'', 200
        prefix = f'/{NAME}/resolve/{COMMIT}/'
        if self.refusal:
            status, headers = self.refusal[0], {'X-Error-Code': self.refusal[1]}
        elif path.startswith(f'/api/models/{NAME}/revision/'):
            if path.rpartition('/')[2] in ('main', COMMIT):
                body = json.dumps(dict(id=NAME, sha=COMMIT, siblings=[])).encode()
            else:
                status, headers = 404, {'X-Error-Code': 'RevisionNotFound'}
        elif path.startswith(f'/api/models/{NAME}/tree/{COMMIT}'):
            body = json.dumps([self.entry(each) for each in self.files()]).encode()
        elif path.startswith(prefix):
            file = self.folder / path.removeprefix(prefix)
            entry, body = self.entry(file), file.read_bytes()
            etag = entry.get('lfs', entry)['oid']
            headers = {'ETag': f'"{etag}"', 'X-Repo-Commit': COMMIT}
        else:
            status, headers = 404, {'X-Error-Code': 'RepoNotFound'}
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header('Content-Length', str(len(body)))
        request.end_headers()
        if request.command == 'GET':
            request.wfile.write(body)
