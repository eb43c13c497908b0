package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"holdfast/internal/fault"
)

// Order is something that an operator wants of a sink.
type Order struct {
	Sink      string `json:"-"`
	Do        string `json:"-"`                    // one of Orders
	Stream    string `json:"stream,omitempty"`     // of pause, resume and seek: only this one; "" for all
	Seq       uint64 `json:"seq,omitempty"`        // of seek: the last row that the sink is to count as its own
	To        string `json:"to,omitempty"`         // of rename: the new name
	Replay    bool   `json:"replay,omitempty"`     // of resume: the sink's own cursor counts, wherever it stands
	AcceptGap bool   `json:"accept_gap,omitempty"` // of resume: rows that are no longer kept are given up
	Force     bool   `json:"force,omitempty"`      // of retire: although rows are not delivered

	Seconds float64 `json:"seconds,omitempty"` // of drain: how long to wait; 0: as long as whoever asks
}

// Orders are what an Order can be.
var Orders = []string{"pause", "resume", "seek", "drain", "retire", "rename"}

// Done is what became of an Order.
type Done struct {
	Sink    string   `json:"sink"`
	Done    string   `json:"done"` // the order
	Streams []Placed `json:"streams"`
	Rows    uint64   `json:"rows,omitempty"`    // of retire: rows that the sink never got
	Cursors int      `json:"cursors,omitempty"` // of retire: cursors removed from the sink
	Note    string   `json:"note,omitempty"`    // what is left to do, or to know
}

// Placed is one stream of a sink, after an Order.
type Placed struct {
	Stream string `json:"stream"`
	Seq    uint64 `json:"seq"` // last row committed
}

// Operator is implemented by an Admin that takes orders about sinks.
type Operator interface {
	// Operate does what an operator wants of a sink. It waits for the sink where
	// the order needs it, as long as ctx.
	Operate(ctx context.Context, o Order) (Done, error)
	// Rotate makes sinks close the files that they keep open for other programs,
	// one sink where it is not "", and returns the names of those that did.
	Rotate(ctx context.Context, sink string) ([]string, error)
}

// errNoOperator says that who answers is no Operator.
var errNoOperator = fault.New(fault.FeatureNotSupported, "this server takes no orders about sinks")

// maxOrder bounds the body of an order, in bytes: values of an edited reject
// are the longest that there can be.
const maxOrder = 32 << 20

// readOrder reads a request's body into v; an empty one leaves it as it is.
func readOrder(r *http.Request, v any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, maxOrder))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return fault.New(fault.InvalidParameterValue, "the order cannot be read").Because(err).WithHint("send a JSON object")
	}
	return nil
}

// operate is POST /v1/sinks/{sink}/{order}.
func (a *API) operate(w http.ResponseWriter, r *http.Request) {
	able, ok := a.o.Admin.(Operator)
	if !ok {
		fail(w, errNoOperator)
		return
	}
	var o Order
	if err := readOrder(r, &o); err != nil {
		fail(w, err)
		return
	}
	o.Sink, o.Do = r.PathValue("sink"), r.PathValue("order")
	if !slices.Contains(Orders, o.Do) {
		fail(w, fault.New(fault.UndefinedObject, "order %q is not known", o.Do).WithHint("one of %s", strings.Join(Orders, ", ")))
		return
	}
	done, err := able.Operate(r.Context(), o)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, done)
}

// rotated is what /v1/rotate answers.
type rotated struct {
	Sinks []string `json:"sinks"`
}

// rotate is POST /v1/rotate.
func (a *API) rotate(w http.ResponseWriter, r *http.Request) {
	able, ok := a.o.Admin.(Operator)
	if !ok {
		fail(w, errNoOperator)
		return
	}
	names, err := able.Rotate(r.Context(), r.URL.Query().Get("sink"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, rotated{append([]string{}, names...)})
}

// Operate sends an order about a sink.
func (c *Client) Operate(ctx context.Context, o Order) (done Done, err error) {
	return done, c.post(ctx, http.MethodPost, "/v1/sinks/"+url.PathEscape(o.Sink)+"/"+o.Do, o, &done)
}

// Rotate makes sinks close their files.
func (c *Client) Rotate(ctx context.Context, sink string) ([]string, error) {
	var r rotated
	err := c.post(ctx, http.MethodPost, "/v1/rotate?sink="+url.QueryEscape(sink), nil, &r)
	return r.Sinks, err
}

// post sends body as JSON and reads the answer.
func (c *Client) post(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := c.do(ctx, method, path, "application/json", strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return decodeAnswer(r, into)
}

// Operate does what an operator wants of a sink that no server delivers to.
func (l *Local) Operate(ctx context.Context, o Order) (Done, error) {
	if able, ok := l.Admin.(Operator); ok {
		return able.Operate(ctx, o)
	}
	return Done{}, errNoOperator
}

// Rotate fails: without a server no file is open.
func (l *Local) Rotate(ctx context.Context, sink string) ([]string, error) {
	if able, ok := l.Admin.(Operator); ok {
		return able.Rotate(ctx, sink)
	}
	return nil, errNoOperator
}
