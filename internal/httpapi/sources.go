package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"holdfast/internal/fault"
)

// Move moves the position of a source, with the rows that were read from it.
type Move struct {
	Source   string
	From, To string // From must be where it stands; "" is where a new one stands
}

// SourceKeeper is implemented by an Admin that remembers how far sources were
// read.
type SourceKeeper interface {
	// Position returns where a source stands; "" where it never moved.
	Position(source string) (string, error)
	// Move moves a source without rows. A source that stands elsewhere gives an
	// error with fault.SerializationFailure.
	Move(m Move) error
	// Moving returns a Store whose transactions move the source with their
	// commit: both happen or none.
	Moving(m Move) Store
}

var errNoSources = fault.New(fault.FeatureNotSupported, "this database remembers no sources")

// moveWith stores the rows of in, and moves the source with them.
func moveWith(ctx context.Context, a Admin, m Move, in Load) (int, error) {
	k, ok := a.(SourceKeeper)
	if !ok {
		return 0, errNoSources
	}
	if in.Table == "" {
		return 0, k.Move(m)
	}
	rows, err := Put(ctx, k.Moving(m), in)
	if err == nil && rows == 0 {
		err = k.Move(m)
	}
	return rows, err
}

// position is GET /v1/sources/{source}.
func (a *API) position(w http.ResponseWriter, r *http.Request) {
	k, ok := a.o.Admin.(SourceKeeper)
	if !ok {
		fail(w, errNoSources)
		return
	}
	at, err := k.Position(r.PathValue("source"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"position": at})
}

// move is POST /v1/sources/{source}?from=F&to=T, and &table=N with rows.
func (a *API) move(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	rows, err := moveWith(r.Context(), a.o.Admin, Move{Source: r.PathValue("source"), From: q.Get("from"), To: q.Get("to")},
		Load{Table: q.Get("table"), ContentType: r.Header.Get("Content-Type"), Body: newPatient(w, r.Body), Durable: true})
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]int{"rows": rows})
}

// Position returns where a source stands.
func (c *Client) Position(ctx context.Context, source string) (string, error) {
	var at struct {
		Position string `json:"position"`
	}
	err := c.get(ctx, http.MethodGet, "/v1/sources/"+url.PathEscape(source), &at)
	return at.Position, err
}

// Move sends the rows in body, one JSON object per line, and moves the source
// with them; with table "" it is moved alone. An error that wraps ErrUnknown
// leaves open whether that happened: Position tells.
func (c *Client) Move(ctx context.Context, m Move, table string, body io.Reader) error {
	q := url.Values{"from": {m.From}, "to": {m.To}, "table": {table}}
	r, err := c.do(ctx, http.MethodPost, "/v1/sources/"+url.PathEscape(m.Source)+"?"+q.Encode(), "application/x-ndjson", body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	var done struct{ Rows int }
	if err := json.NewDecoder(r.Body).Decode(&done); err != nil {
		return fmt.Errorf("%w: read the answer: %w", ErrUnknown, err)
	}
	return nil
}

// Position returns where a source stands.
func (l *Local) Position(_ context.Context, source string) (string, error) {
	if k, ok := l.Admin.(SourceKeeper); ok {
		return k.Position(source)
	}
	return "", errNoSources
}

// Move stores rows, and moves a source with them, as Client.Move does.
func (l *Local) Move(ctx context.Context, m Move, table string, body io.Reader) error {
	_, err := moveWith(ctx, l.Admin, m, Load{Table: table, ContentType: "application/x-ndjson", Body: body, Durable: true})
	return err
}
