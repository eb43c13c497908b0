// Package httpapi is the HTTP door: rows in, health, metrics and status out,
// and, on the admin socket alone, what the verbs of the command line ask of a
// running server. The client for all of it lives here too, so that both ends
// of the wire are one page apart.
//
// It declares what it needs of the database as Store and Admin; whoever wires
// the server hands them over.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"holdfast/internal/auth"
	"holdfast/internal/fault"
	"holdfast/row"
)

// The bounds of what a client can make the server hold.
const (
	maxRecord  = 4 << 20          // bytes of one line, object or CSV record; each is in memory as a whole
	maxColumns = 1600             // columns of one row, as in PostgreSQL
	maxSets    = 1000             // different sets of columns in one request; each is a schema in the stream
	maxDepth   = 64               // nesting of objects and arrays in one value
	maxLarge   = 4                // bodies at a time that hold a record larger than largeRecord; others wait
	idleBody   = 60 * time.Second // how long a body may be silent
)

// Store is where rows go. Its methods must be safe for concurrent use.
type Store interface {
	// Schema returns the schema of rows with these columns, creating or
	// refusing the table and its columns as the server is configured to. The
	// error is a *fault.Error where the client is at fault.
	Schema(table string, columns []row.Column) (*row.Schema, error)
	// Columns returns what is known of the table's columns; an error with
	// fault.UndefinedTable where nothing is.
	Columns(table string) ([]row.Column, error)
	// Begin starts a transaction.
	Begin() Tx
}

// Tx is one transaction: all of its rows are stored, or none. It may be larger
// than memory, so an implementation must stage it to disk by itself. One
// goroutine uses it, and ends it with exactly one of Commit and Rollback; a
// Commit that returns an error has ended it too.
type Tx interface {
	// Insert adds a row. It must copy what it keeps of values.
	Insert(s *row.Schema, values []row.Value) error
	// Rows returns how many rows Insert has taken.
	Rows() int
	// Commit stores the rows: after a nil error they survive a power cut where
	// durable is set, and a kill of the process where it is not. An error with
	// fault.OutcomeUnknown says that they may or may not be stored.
	Commit(ctx context.Context, durable bool) error
	// Rollback forgets the rows.
	Rollback()
}

// Admin is what the server tells about itself and does when asked. Its methods
// must be safe for concurrent use.
type Admin interface {
	// Status returns how the server is. It must not wait for a sink.
	Status(ctx context.Context) (Status, error)
	// Verify reads every stored byte of the stream, of all streams where it is
	// "", and calls report for each damaged place, in order. It ends early with
	// report's error.
	Verify(ctx context.Context, stream string, report func(row.Damage) error) (Verified, error)
	// Seal closes the active segment of every stream that has rows in it.
	Seal(ctx context.Context) error
	// Rows calls emit for each row that q asks for, in seq order, and damage
	// for each place on the way that cannot be read. A row is valid until emit
	// returns. With Follow set it waits for more rows until ctx ends, which is
	// then no error.
	Rows(ctx context.Context, q RowsQuery, emit func(*row.Row) error, damage func(row.Damage) error) error
	// Ready returns nil while rows can be taken, and otherwise why not.
	Ready() error
}

// Repairer is implemented by an Admin that can repair.
type Repairer interface {
	// Repair calls report for each damage of the stream, of all streams where it
	// is "", and says what there is to do about it; with apply set that is done
	// first. It ends early with report's error.
	Repair(ctx context.Context, stream string, apply bool, report func(Repair) error) (Verified, error)
}

// Options are what an API is made of. Store and Admin must be set; the zero
// value of all else works.
type Options struct {
	Store    Store
	Admin    Admin
	Access   *auth.Guard            // who may come in and write to what; if nil, everybody and everything
	Named    func(host string) bool // whether host is this server, besides Hosts; may be nil
	Hosts    []string               // names, besides the loopback ones, under which a browser may know this server
	MaxBody  int64                  // bytes that the rows of a request may have, unpacked; 0: 1 GiB
	Registry *prometheus.Registry   // where metrics are registered and gathered; if nil, an own one
	Log      *slog.Logger           // if nil, nothing is logged
	Stalled  time.Duration          // how long a client may take for an answer; if 0, a minute
}

// API serves HTTP. It is safe for concurrent use.
type API struct {
	o        Options
	requests *prometheus.CounterVec
	metrics  http.Handler
	large    chan struct{} // one token per body that holds a large record
	windows  chan struct{} // one token per zstd body with a large window; taken before one of large
}

// New makes an API. It registers its metrics, so a Registry takes one API.
func New(o Options) *API {
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Access == nil {
		o.Access = new(auth.Guard)
	}
	if o.MaxBody <= 0 {
		o.MaxBody = defaultBody
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Stalled == 0 {
		o.Stalled = time.Minute
	}
	a := &API{o: o, large: make(chan struct{}, maxLarge), windows: make(chan struct{}, maxLarge)}
	a.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "holdfast_http_requests_total", Help: "HTTP requests answered, by status code.",
	}, []string{"code"})
	o.Registry.MustRegister(a.requests, collector{o.Admin})
	a.metrics = promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return a
}

// Public returns the handler of the TCP listener. It answers only to the names
// in Hosts and to loopback ones, and to no page of another origin, so that a
// web page cannot use its visitor's browser to write or read here; and where
// there are users or tokens, to those only.
func (a *API) Public() http.Handler {
	mux := http.NewServeMux()
	a.routes(mux)
	return a.counted(a.onlyHosts(http.NewCrossOriginProtection().Handler(a.known(mux))), a.o.Stalled)
}

// Private returns the handler of the admin socket: everything that Public
// serves, and what only the server's own user may do.
func (a *API) Private() http.Handler {
	mux := http.NewServeMux()
	a.routes(mux)
	mux.Handle("/v1/streams/{stream}/rows", method(http.MethodGet, a.readRows))
	mux.Handle("/v1/verify", method(http.MethodPost, a.verify))
	mux.Handle("/v1/repair", method(http.MethodPost, a.repair))
	mux.Handle("/v1/seal", method(http.MethodPost, a.seal))
	mux.Handle("/v1/sinks/{sink}/{order}", method(http.MethodPost, a.operate))
	mux.Handle("GET /v1/sources/{source}", http.HandlerFunc(a.position))
	mux.Handle("POST /v1/sources/{source}", http.HandlerFunc(a.move))
	mux.Handle("/v1/spools/{source}/switch", method(http.MethodPost, a.switchSpool))
	mux.Handle("/v1/rotate", method(http.MethodPost, a.rotate))
	a.rollRoutes(mux)
	mux.Handle("/v1/rejects", method(http.MethodGet, a.listRejects))
	mux.Handle("GET /v1/rejects/{id}", http.HandlerFunc(a.oneReject))
	mux.Handle("PATCH /v1/rejects/{id}", http.HandlerFunc(a.oneReject))
	mux.Handle("POST /v1/rejects/retry", http.HandlerFunc(a.manyRejects))
	mux.Handle("POST /v1/rejects/discard", http.HandlerFunc(a.manyRejects))
	return a.counted(mux, 0) // an administrator may read page by page
}

func (a *API) routes(mux *http.ServeMux) {
	mux.Handle("/v1/tables/{table}/rows", method(http.MethodPost, a.postRows))
	mux.Handle("/ping", method(http.MethodGet, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"ok": true})
	}))
	mux.Handle("/ready", method(http.MethodGet, a.ready))
	mux.Handle("/metrics", method(http.MethodGet, a.metrics.ServeHTTP))
	mux.Handle("/v1/status", method(http.MethodGet, a.status))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fault.New(fault.UndefinedObject, "nothing is at %q", r.URL.Path).
			WithHint("rows go to POST /v1/tables/{table}/rows; see also /v1/status, /ready, /ping and /metrics"))
	})
}

// method lets only m through, and HEAD where m is GET.
func method(m string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == m || m == http.MethodGet && r.Method == http.MethodHead {
			h(w, r)
			return
		}
		w.Header().Set("Allow", m)
		refuse(w, http.StatusMethodNotAllowed, fault.New(fault.FeatureNotSupported, "method %q is not taken here", r.Method).WithHint("use %s", m))
	})
}

func (a *API) ready(w http.ResponseWriter, _ *http.Request) {
	if err := a.o.Admin.Ready(); err != nil {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, fault.Of(err))
		return
	}
	answer(w, http.StatusOK, map[string]bool{"ready": true})
}

func (a *API) status(w http.ResponseWriter, r *http.Request) {
	s, err := a.o.Admin.Status(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, s)
}
