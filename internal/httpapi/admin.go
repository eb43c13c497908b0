package httpapi

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"holdfast/internal/fault"
	"holdfast/row"
)

// line is one line of an answer that is a list: exactly one of its fields is
// set. An answer that begins well can only tell of a later error in a line.
type line struct {
	*RowLine
	Damage   *row.Damage `json:"damage,omitempty"`
	Verified *Verified   `json:"verified,omitempty"`
	Repair   *Repair     `json:"repair,omitempty"`
	Reject   *Reject     `json:"reject,omitempty"`

	Manifest  json.RawMessage `json:"manifest,omitempty"`
	Manifests *manifestLine   `json:"manifests,omitempty"`

	Explained *Explained `json:"explained,omitempty"`

	Error *errorFields `json:"error,omitempty"`
}

// lines writes an answer line by line.
type lines struct {
	buf   *bufio.Writer
	enc   *json.Encoder
	ctl   *http.ResponseController
	eager bool // whether each line is sent at once
}

func newLines(w http.ResponseWriter, eager bool) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	l := &lines{buf: bufio.NewWriterSize(w, 64<<10), ctl: http.NewResponseController(w), eager: eager}
	l.enc = json.NewEncoder(l.buf)
	l.enc.SetEscapeHTML(false)
	return l
}

func (l *lines) send(one line) error {
	if err := l.enc.Encode(one); err != nil {
		return err
	}
	if l.eager {
		return l.flush()
	}
	return nil
}

func (l *lines) flush() error {
	if err := l.buf.Flush(); err != nil {
		return err
	}
	return l.ctl.Flush()
}

// end sends err, if any, and all that is still buffered. Where that cannot be
// sent the client is gone.
func (l *lines) end(err error) {
	if err != nil {
		f := fieldsOf(err)
		if l.send(line{Error: &f}) != nil {
			return
		}
	}
	_ = l.flush()
}

// readRows is GET /v1/streams/{stream}/rows.
func (a *API) readRows(w http.ResponseWriter, r *http.Request) {
	q, err := rowsQuery(r.PathValue("stream"), r.URL.Query())
	if err != nil {
		fail(w, err)
		return
	}
	out := newLines(w, q.Follow)
	if q.Follow {
		// Whoever follows is told at once that the server listens.
		if out.flush() != nil {
			return
		}
	}
	if q.Explain != nil {
		q.Explain = func(e Explained) { _ = out.send(line{Explained: &e}) } // a client that is gone needs no answer
	}
	err = a.o.Admin.Rows(r.Context(), q,
		func(one *row.Row) error { return out.send(line{RowLine: q.line(one)}) },
		func(d row.Damage) error { return out.send(line{Damage: &d}) })
	out.end(err)
}

func rowsQuery(stream string, v url.Values) (RowsQuery, error) {
	q := RowsQuery{Stream: stream, Table: v.Get("table"), Follow: v.Get("follow") == "1", Whole: v.Get("whole") == "1", CutOff: v.Get("cut_off") == "1"}
	var err error
	if s := v.Get("from"); s != "" {
		if q.From, err = strconv.ParseUint(s, 10, 64); err != nil {
			return q, fault.New(fault.InvalidParameterValue, "from %q is not a seq", s)
		}
	}
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 0 {
			return q, fault.New(fault.InvalidParameterValue, "limit %q is not a number of rows", s)
		}
	}
	return q, q.readFilter(v)
}

// values is the other end of rowsQuery.
func (q RowsQuery) values() url.Values {
	v := url.Values{}
	if q.Table != "" {
		v.Set("table", q.Table)
	}
	if q.From > 0 {
		v.Set("from", strconv.FormatUint(q.From, 10))
	}
	if q.Follow {
		v.Set("follow", "1")
	}
	if q.Whole {
		v.Set("whole", "1")
	}
	if q.CutOff {
		v.Set("cut_off", "1")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	q.writeFilter(v)
	return v
}

// verify is POST /v1/verify.
func (a *API) verify(w http.ResponseWriter, r *http.Request) {
	out := newLines(w, true)
	if out.flush() != nil {
		return
	}
	v, err := a.o.Admin.Verify(r.Context(), r.URL.Query().Get("stream"), func(d row.Damage) error {
		return out.send(line{Damage: &d})
	})
	if err == nil {
		err = out.send(line{Verified: &v})
	}
	out.end(err)
}

// repair is POST /v1/repair.
func (a *API) repair(w http.ResponseWriter, r *http.Request) {
	able, ok := a.o.Admin.(Repairer)
	if !ok {
		fail(w, errNoRepair)
		return
	}
	out := newLines(w, true)
	if out.flush() != nil {
		return
	}
	q := r.URL.Query()
	v, err := able.Repair(r.Context(), q.Get("stream"), q.Get("apply") == "1", func(one Repair) error {
		return out.send(line{Repair: &one})
	})
	if err == nil {
		err = out.send(line{Verified: &v})
	}
	out.end(err)
}

// errNoRepair says that who answers is no Repairer.
var errNoRepair = fault.New(fault.FeatureNotSupported, "this server cannot repair")

// seal is POST /v1/seal.
func (a *API) seal(w http.ResponseWriter, r *http.Request) {
	if err := a.o.Admin.Seal(r.Context()); err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]bool{"sealed": true})
}
