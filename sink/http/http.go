// Package http is the sink that posts rows to a URL as lines of JSON, at least
// once.
//
// A receiver has no transaction that a cursor could be in, so the cursor lives
// in a directory of this machine. Each request says which rows of which stream
// it holds, and a request whose answer was lost is sent again with the same
// rows under the same key, so that a receiver can make it exactly once.
// docs/delivery.md tells what it sees.
package http

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	nethttp "net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
)

var _ sink.Sink = (*Sink)(nil)

// Options say how requests are made. Only Dir must be set.
type Options struct {
	// Dir is where the cursors are kept, made where it is missing. It must be
	// this sink's alone.
	Dir string
	// Headers are sent with each request.
	Headers map[string]string
	// HeaderFiles gives files that hold the values of headers, for secrets.
	// They are read for each request, so that they may be replaced.
	HeaderFiles map[string]string
	// TokenFile is a file with a bearer token, read likewise.
	TokenFile string
	// CAFile is a file of certificates in PEM that sign the receiver's, instead
	// of those that the system trusts.
	CAFile string
	// Timeout is how long one request may take, answer included. If zero, 30 s.
	Timeout time.Duration
	// MaxBody is how many bytes of lines one request holds, before compression.
	// A longer row goes alone. If zero, 1 MiB.
	MaxBody int
	// Gzip says that bodies are compressed.
	Gzip bool
	// Busy is how long to wait for another process at Dir. If zero, 2 s.
	Busy time.Duration
	// Log is told what needs no attempt to be repeated. If nil, nobody is.
	Log *slog.Logger
}

// reserved are headers that say what a request holds.
var reserved = map[string]bool{
	"Content-Type": true, "Content-Encoding": true, "Content-Length": true, "Host": true, "Idempotency-Key": true,
	"Connection": true, "Transfer-Encoding": true, "User-Agent": true,
}

// Sink posts to one URL.
type Sink struct {
	url    *url.URL
	opts   Options
	client *nethttp.Client
	watch  local.Watch

	cursors local.Keeper[*book]
	turn    chan struct{} // holds one token: whoever has it uses what stands below
	dir     *local.Dir    // nil until it is needed
	store   *local.Store
	closed  bool

	ctx     context.Context // ends with the sink
	stop    context.CancelFunc
	closing sync.Once
}

// Open returns the sink for a URL. The receiver need not be there yet.
func Open(address string, opts Options) (*Sink, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("open HTTP sink: %w", unread(address, err))
	}
	bad := func(format string, args ...any) (*Sink, error) {
		return nil, fmt.Errorf("open HTTP sink %q: "+format, append([]any{shown(u)}, args...)...)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return bad("the URL must begin with http:// or https:// and a host")
	}
	if u.Fragment != "" {
		return bad("a URL with a fragment (#%s) names no receiver", u.Fragment)
	}
	if opts.Dir == "" {
		return bad("a directory for the cursor is needed")
	}
	if opts.MaxBody < 0 || opts.Timeout < 0 {
		return bad("a body of %d bytes within %v cannot be sent", opts.MaxBody, opts.Timeout)
	}
	opts.settle()
	if err := opts.checkHeaders(); err != nil {
		return bad("%w", err)
	}
	transport := nethttp.DefaultTransport.(*nethttp.Transport).Clone()
	transport.TLSClientConfig, err = trust(opts.CAFile)
	if err != nil {
		return bad("%w", err)
	}
	if err := makeDir(opts.Dir); err != nil {
		return bad("%w", err)
	}
	s := &Sink{url: u, opts: opts, turn: make(chan struct{}, 1)}
	s.cursors = local.Keeper[*book]{Name: fmt.Sprintf("HTTP sink %q", shown(u)), Use: s.use, State: func(b *book) *local.State { return b.state }, Write: s.write}
	s.client = &nethttp.Client{Transport: transport, CheckRedirect: sameHost}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.turn <- struct{}{}
	return s, nil
}

// unread is why an address is no URL, without the address: a password or a token
// may be in there.
func unread(address string, err error) error {
	if e := new(url.Error); errors.As(err, &e) && !strings.Contains(address, "@") {
		return e.Err // with one, net/url may take half of a password for a port
	}
	return errors.New("the URL cannot be read; a character like / @ : # ? % in user or password is to be written as %XX")
}

// shown is a URL as errors have it: without the password, and without what is
// behind the question mark, where receivers have their tokens.
func shown(u *url.URL) string {
	v := *u
	if v.RawQuery != "" {
		v.RawQuery = "..."
	}
	return v.Redacted()
}

func (o *Options) settle() {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.Busy <= 0 {
		o.Busy = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// checkHeaders sees that headers can be sent, and that files are there.
func (o *Options) checkHeaders() error {
	for _, set := range []map[string]string{o.Headers, o.HeaderFiles} {
		for name := range set {
			canonical := nethttp.CanonicalHeaderKey(name)
			if name == "" || strings.ContainsFunc(name, func(r rune) bool {
				return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
			}) {
				return fmt.Errorf("%q is no name of a header", name)
			}
			if reserved[canonical] || strings.HasPrefix(canonical, "Holdfast-") {
				return fmt.Errorf("header %q is set by Holdfast itself", name)
			}
			if canonical == "Authorization" && o.TokenFile != "" {
				return errors.New("the header Authorization and a file with a bearer token exclude each other")
			}
		}
	}
	_, err := o.header()
	return err
}

// header returns the headers, with those that come from files.
func (o *Options) header() (nethttp.Header, error) {
	h := nethttp.Header{}
	for name, value := range o.Headers {
		h.Set(name, value)
	}
	for name, file := range o.HeaderFiles {
		value, err := secret(file)
		if err != nil {
			return nil, err
		}
		h.Set(name, value)
	}
	if o.TokenFile != "" {
		token, err := secret(o.TokenFile)
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "Bearer "+token)
	}
	for name, values := range h {
		if strings.ContainsFunc(values[0], func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fmt.Errorf("the value of header %q holds a control character", name)
		}
	}
	return h, nil
}

// maxSecret bounds a file with a secret. No server takes longer headers.
const maxSecret = 16 << 10

func secret(file string) (string, error) {
	info, err := os.Stat(file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxSecret) {
		err = fmt.Errorf("%q is not a file of at most %d bytes", file, maxSecret)
	}
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return "", fmt.Errorf("read secret: file %q is empty", file)
	}
	return value, nil
}

func trust(file string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return c, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read certificates: file %q holds none in PEM", file)
	}
	return c, nil
}

// makeDir makes the directory for the cursor so that it stays.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	above, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(above.Sync(), above.Close())
}

// sameHost follows a redirection that changes nothing but the path: rows and
// secrets go to nobody who was not named, and a POST stays one.
func sameHost(req *nethttp.Request, via []*nethttp.Request) error {
	first := via[0]
	if len(via) > 5 || req.Method != first.Method || req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return nethttp.ErrUseLastResponse
	}
	return nil
}

// Close ends all sessions, and requests that are under way. Idempotent.
func (s *Sink) Close() (err error) {
	s.closing.Do(func() {
		s.stop()
		<-s.turn
		s.closed = true
		if s.dir != nil {
			err = s.dir.Close()
		}
		s.turn <- struct{}{}
		s.client.CloseIdleConnections()
	})
	return err
}

// progress is what is known of rows behind the cursor.
type progress struct {
	StreamID string `json:"stream_id"`
	Sink     string `json:"sink"`
	Taken    uint64 `json:"taken"` // the receiver has all rows up to this seq, or refused them
	First    uint64 `json:"first"` // the request that was sent last, if its answer is not known
	Last     uint64 `json:"last"`
}

// book is the state with what this sink keeps in it.
type book struct {
	state    *local.State
	progress []*progress
}

// of returns the progress of id.
func (b *book) of(id sink.ID) *progress {
	for _, p := range b.progress {
		if p.StreamID == id.StreamID && p.Sink == id.Sink {
			return p
		}
	}
	p := &progress{StreamID: id.StreamID, Sink: id.Sink}
	b.progress = append(b.progress, p)
	return p
}

// forget drops the progress of id.
func (b *book) forget(id sink.ID) {
	b.progress = slices.DeleteFunc(b.progress, func(p *progress) bool {
		return p.StreamID == id.StreamID && p.Sink == id.Sink
	})
}

// use calls f with the state, under the lock.
func (s *Sink) use(ctx context.Context, f func(b *book) error) (err error) {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	if s.closed {
		return errors.New("sink is closed")
	}
	if s.dir != nil && !s.dir.Current() {
		err := s.dir.Close()
		if s.dir, s.store = nil, nil; err != nil {
			return err
		}
	}
	if s.dir == nil {
		if s.dir, err = local.OpenDir(s.opts.Dir, s.watch); err != nil {
			return fmt.Errorf("open directory of the cursor: %w", err)
		}
		s.store = local.NewStore(s.dir, ".")
	}
	l, err := s.store.Lock(ctx, s.opts.Busy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	b := &book{}
	if b.state, err = s.store.Load(); err != nil {
		return err
	}
	if b.state.Extra != nil {
		if err := json.Unmarshal(b.state.Extra, &b.progress); err != nil {
			return fmt.Errorf("read state: %w", err)
		}
	}
	return f(b)
}

// write puts b on disk, in place of what was there.
func (s *Sink) write(b *book) (err error) {
	if b.state.Extra, err = json.Marshal(b.progress); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return s.store.Replace(b.state)
}

// Attach takes the cursor of id over.
func (s *Sink) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	n := &session{sink: s}
	held, err := s.cursors.Attach(ctx, local.Claim{ID: id, Instance: instance, Start: start, Sound: sound}, func(b *book) error {
		n.progress = *b.of(id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	n.Held = held
	return n, nil
}

// Retire removes the cursor of id.
func (s *Sink) Retire(ctx context.Context, id sink.ID) error {
	return s.cursors.Retire(ctx, id, func(b *book) { b.forget(id) })
}

// Rename makes what belongs to id that of the sink called name.
func (s *Sink) Rename(ctx context.Context, id sink.ID, name string) error {
	return s.cursors.Rename(ctx, id, name, func(b *book) {
		b.forget(sink.ID{StreamID: id.StreamID, Sink: name})
		b.of(id).Sink = name
	})
}
