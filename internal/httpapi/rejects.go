package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/fault"
)

// Reject is a row that a sink refused.
type Reject struct {
	ID       uint64    `json:"id"`
	Stream   string    `json:"stream"`
	Sink     string    `json:"sink"`
	Seq      uint64    `json:"seq"` // the row's, in its stream
	Table    string    `json:"table"`
	State    string    `json:"state"` // "open", "delivered" or "discarded"
	Code     string    `json:"code"`  // the database's own
	Error    string    `json:"error"` // in the database's own words
	Attempts int       `json:"attempts"`
	Edits    int       `json:"edits,omitempty"`
	Refused  time.Time `json:"refused"` // first
	Changed  time.Time `json:"changed"` // last
	Note     string    `json:"note,omitempty"`
	Columns  []string  `json:"columns,omitempty"` // where values were asked for
	Values   []*string `json:"values,omitempty"`  // nil is NULL
	Lost     string    `json:"lost,omitempty"`    // why the values cannot be read
}

// RejectFilter says which rejects are meant; a zero leaves all of them.
type RejectFilter struct {
	IDs    []uint64 `json:"ids,omitempty"`
	Stream string   `json:"stream,omitempty"`
	Sink   string   `json:"sink,omitempty"`
	Table  string   `json:"table,omitempty"`
	Code   string   `json:"code,omitempty"`
	State  string   `json:"state,omitempty"` // "": those that wait; "all"
	Limit  int      `json:"limit,omitempty"`
	Values bool     `json:"values,omitempty"` // with the values of each
}

// Retried is what a retry did.
type Retried struct {
	Delivered int      `json:"delivered"` // in the sink now
	Refused   int      `json:"refused"`   // again
	Skipped   int      `json:"skipped"`   // not tried; Why says why
	Why       []string `json:"why"`       // some of the reasons, in the databases' own words
}

// RejectKeeper is implemented by an Admin that keeps rejects.
type RejectKeeper interface {
	// Rejects calls emit for each reject that f means, by id. It ends early with
	// emit's error.
	Rejects(ctx context.Context, f RejectFilter, emit func(Reject) error) error
	// Reject returns one with its values.
	Reject(ctx context.Context, id uint64) (Reject, error)
	// EditReject changes values by column; nil is NULL.
	EditReject(ctx context.Context, id uint64, changes map[string]*string) (Reject, error)
	// DiscardRejects gives up those that wait and that f means.
	DiscardRejects(ctx context.Context, f RejectFilter, note string) (int, error)
	// RetryRejects brings those that wait and that f means into their sinks.
	RetryRejects(ctx context.Context, f RejectFilter) (Retried, error)
}

var errNoRejects = fault.New(fault.FeatureNotSupported, "this server keeps no rejects")

// keeper returns who keeps rejects, or answers that nobody does.
func (a *API) keeper(w http.ResponseWriter) RejectKeeper {
	k, ok := a.o.Admin.(RejectKeeper)
	if !ok {
		fail(w, errNoRejects)
	}
	return k
}

// listRejects is GET /v1/rejects.
func (a *API) listRejects(w http.ResponseWriter, r *http.Request) {
	k := a.keeper(w)
	if k == nil {
		return
	}
	f, err := filterOf(r.URL.Query())
	if err != nil {
		fail(w, err)
		return
	}
	out := newLines(w, false)
	out.end(k.Rejects(r.Context(), f, func(one Reject) error { return out.send(line{Reject: &one}) }))
}

func filterOf(v url.Values) (RejectFilter, error) {
	f := RejectFilter{
		Stream: v.Get("stream"), Sink: v.Get("sink"), Table: v.Get("table"), Code: v.Get("code"), State: v.Get("state"), Values: v.Get("values") == "1",
	}
	for _, s := range v["id"] {
		id, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return f, fault.New(fault.InvalidParameterValue, "id %q is not one of a reject", s)
		}
		f.IDs = append(f.IDs, id)
	}
	var err error
	if s := v.Get("limit"); s != "" {
		if f.Limit, err = strconv.Atoi(s); err != nil || f.Limit < 0 {
			return f, fault.New(fault.InvalidParameterValue, "limit %q is not a number of rejects", s)
		}
	}
	return f, f.judge()
}

// judge refuses states that there are not.
func (f *RejectFilter) judge() error {
	switch f.State {
	case "", "open", "delivered", "discarded", "all":
		return nil
	}
	return fault.New(fault.InvalidParameterValue, "state %q is not known", f.State).WithHint("one of open, delivered, discarded, all")
}

// values is the other end of filterOf.
func (f RejectFilter) values() url.Values {
	v := url.Values{}
	for key, value := range map[string]string{"stream": f.Stream, "sink": f.Sink, "table": f.Table, "code": f.Code, "state": f.State} {
		if value != "" {
			v.Set(key, value)
		}
	}
	for _, id := range f.IDs {
		v.Add("id", strconv.FormatUint(id, 10))
	}
	if f.Limit > 0 {
		v.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Values {
		v.Set("values", "1")
	}
	return v
}

// oneReject is GET and PATCH /v1/rejects/{id}.
func (a *API) oneReject(w http.ResponseWriter, r *http.Request) {
	k := a.keeper(w)
	if k == nil {
		return
	}
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		fail(w, fault.New(fault.InvalidParameterValue, "id %q is not one of a reject", r.PathValue("id")).
			WithHint("GET /v1/rejects lists them"))
		return
	}
	var one Reject
	if r.Method == http.MethodPatch {
		var edit rejectEdit
		if err = readOrder(r, &edit); err == nil {
			one, err = k.EditReject(r.Context(), id, edit.Values)
		}
	} else {
		one, err = k.Reject(r.Context(), id)
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, one)
}

// rejectEdit is the body of PATCH /v1/rejects/{id}.
type rejectEdit struct {
	Values map[string]*string `json:"values"`
}

// rejectOrder is the body of the orders about many rejects.
type rejectOrder struct {
	RejectFilter
	Note string `json:"note,omitempty"`
}

// discarded is what /v1/rejects/discard answers.
type discarded struct {
	Discarded int `json:"discarded"`
}

// manyRejects is POST /v1/rejects/retry and /v1/rejects/discard.
func (a *API) manyRejects(w http.ResponseWriter, r *http.Request) {
	k := a.keeper(w)
	if k == nil {
		return
	}
	var o rejectOrder
	err := readOrder(r, &o)
	if err == nil {
		err = o.judge()
	}
	var done any
	if err == nil && strings.HasSuffix(r.URL.Path, "/retry") {
		done, err = k.RetryRejects(r.Context(), o.RejectFilter)
	} else if err == nil {
		var n int
		n, err = k.DiscardRejects(r.Context(), o.RejectFilter, o.Note)
		done = discarded{n}
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, done)
}

// Rejects calls emit for each reject that f means.
func (c *Client) Rejects(ctx context.Context, f RejectFilter, emit func(Reject) error) error {
	return c.lines(ctx, http.MethodGet, "/v1/rejects?"+f.values().Encode(), func(one *line) error {
		if one.Reject == nil {
			return nil
		}
		return emit(*one.Reject)
	})
}

// Reject returns one reject with its values.
func (c *Client) Reject(ctx context.Context, id uint64) (one Reject, err error) {
	return one, c.get(ctx, http.MethodGet, "/v1/rejects/"+strconv.FormatUint(id, 10), &one)
}

// EditReject changes values of a reject.
func (c *Client) EditReject(ctx context.Context, id uint64, changes map[string]*string) (one Reject, err error) {
	return one, c.post(ctx, http.MethodPatch, "/v1/rejects/"+strconv.FormatUint(id, 10), rejectEdit{changes}, &one)
}

// DiscardRejects gives rejects up.
func (c *Client) DiscardRejects(ctx context.Context, f RejectFilter, note string) (int, error) {
	var d discarded
	err := c.post(ctx, http.MethodPost, "/v1/rejects/discard", rejectOrder{f, note}, &d)
	return d.Discarded, err
}

// RetryRejects brings rejects into their sinks.
func (c *Client) RetryRejects(ctx context.Context, f RejectFilter) (done Retried, err error) {
	return done, c.post(ctx, http.MethodPost, "/v1/rejects/retry", rejectOrder{RejectFilter: f}, &done)
}
