package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"holdfast/internal/fault"
)

// RollOrder is a message: sizeRoll or timeRoll, in the manual's grammar.
type RollOrder struct {
	Node    string `json:"pathname"` // /database or /index
	Message string `json:"msg"`
	Params  string `json:"params"`
	By      string `json:"by,omitempty"`    // who asks, for the ledger
	Apply   bool   `json:"apply,omitempty"` // else only the plan is made
}

// RollAnswer is the plan, and what became of it.
type RollAnswer struct {
	Plan   json.RawMessage `json:"plan"`
	Text   string          `json:"text"` // the same for people
	Met    bool            `json:"met"`  // every goal holds afterwards
	Steps  int             `json:"steps"`
	Serial uint64          `json:"roll,omitempty"`      // the roll's serial; 0: nothing was done
	Until  time.Time       `json:"undo_until,omitzero"` // until when it can be undone
}

// RollUndo asks that a roll be taken back.
type RollUndo struct {
	Serial uint64 `json:"roll,omitempty"` // 0: the last one
	By     string `json:"by,omitempty"`
}

// Hold keeps rows from every limit and every roll. Without a range it holds
// all rows of its streams, without streams those of all.
type Hold struct {
	Name    string    `json:"name"`
	Streams []string  `json:"streams,omitempty"`
	Note    string    `json:"note,omitempty"`
	By      string    `json:"by,omitempty"`
	Made    time.Time `json:"made,omitzero"`
	Seqs    *[2]int64 `json:"seqs,omitempty"`
	Links   *[2]int64 `json:"links,omitempty"`
	From    time.Time `json:"from,omitzero"` // of receipt
	To      time.Time `json:"to,omitzero"`
}

// Roller is implemented by an Admin that rolls.
type Roller interface {
	// Roll plans what a message asks, and carries it out where that is asked too.
	Roll(ctx context.Context, o RollOrder) (RollAnswer, error)
	// UndoRoll takes a roll back and returns its serial.
	UndoRoll(ctx context.Context, o RollUndo) (uint64, error)
	// Holds returns all holds, AddHold adds one, RemoveHold lifts one.
	Holds(ctx context.Context) ([]Hold, error)
	AddHold(ctx context.Context, h Hold) error
	RemoveHold(ctx context.Context, name string) error
}

// errNoRoller says that who answers is no Roller.
var errNoRoller = fault.New(fault.FeatureNotSupported, "this server does not roll")

// rollRoutes adds what only the server's own user may ask.
func (a *API) rollRoutes(mux *http.ServeMux) {
	mux.Handle("/v1/roll", method(http.MethodPost, a.roll))
	mux.Handle("/v1/roll/undo", method(http.MethodPost, a.undoRoll))
	mux.Handle("GET /v1/manifests", http.HandlerFunc(a.findManifests))
	mux.Handle("GET /v1/holds", http.HandlerFunc(a.listHolds))
	mux.Handle("POST /v1/holds", http.HandlerFunc(a.addHold))
	mux.Handle("DELETE /v1/holds/{hold}", http.HandlerFunc(a.removeHold))
}

// rolled does what one request asks of a Roller.
func rolled[O any](a *API, w http.ResponseWriter, r *http.Request, do func(Roller, O) (any, error)) {
	able, ok := a.o.Admin.(Roller)
	if !ok {
		fail(w, errNoRoller)
		return
	}
	var o O
	if err := readOrder(r, &o); err != nil {
		fail(w, err)
		return
	}
	got, err := do(able, o)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, got)
}

func (a *API) roll(w http.ResponseWriter, r *http.Request) {
	rolled(a, w, r, func(able Roller, o RollOrder) (any, error) { return able.Roll(r.Context(), o) })
}

func (a *API) undoRoll(w http.ResponseWriter, r *http.Request) {
	rolled(a, w, r, func(able Roller, o RollUndo) (any, error) {
		serial, err := able.UndoRoll(r.Context(), o)
		return RollUndo{Serial: serial}, err
	})
}

func (a *API) listHolds(w http.ResponseWriter, r *http.Request) {
	rolled(a, w, r, func(able Roller, _ struct{}) (any, error) {
		all, err := able.Holds(r.Context())
		return append([]Hold{}, all...), err
	})
}

func (a *API) addHold(w http.ResponseWriter, r *http.Request) {
	rolled(a, w, r, func(able Roller, h Hold) (any, error) { return h, able.AddHold(r.Context(), h) })
}

func (a *API) removeHold(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("hold")
	rolled(a, w, r, func(able Roller, _ struct{}) (any, error) {
		return map[string]string{"removed": name}, able.RemoveHold(r.Context(), name)
	})
}

var (
	_ Roller = (*Client)(nil)
	_ Roller = (*Local)(nil)
)

// Roll sends a message.
func (c *Client) Roll(ctx context.Context, o RollOrder) (a RollAnswer, err error) {
	return a, c.post(ctx, http.MethodPost, "/v1/roll", o, &a)
}

// UndoRoll takes a roll back.
func (c *Client) UndoRoll(ctx context.Context, o RollUndo) (uint64, error) {
	var got RollUndo
	err := c.post(ctx, http.MethodPost, "/v1/roll/undo", o, &got)
	return got.Serial, err
}

// Holds returns all holds.
func (c *Client) Holds(ctx context.Context) (all []Hold, err error) {
	return all, c.post(ctx, http.MethodGet, "/v1/holds", struct{}{}, &all)
}

// AddHold adds a hold.
func (c *Client) AddHold(ctx context.Context, h Hold) error {
	return c.post(ctx, http.MethodPost, "/v1/holds", h, &Hold{})
}

// RemoveHold lifts a hold.
func (c *Client) RemoveHold(ctx context.Context, name string) error {
	return c.post(ctx, http.MethodDelete, "/v1/holds/"+url.PathEscape(name), struct{}{}, &map[string]string{})
}

// roller returns the Admin as a Roller.
func (l *Local) roller() (Roller, error) {
	if able, ok := l.Admin.(Roller); ok {
		return able, nil
	}
	return nil, errNoRoller
}

// Roll does what a message asks.
func (l *Local) Roll(ctx context.Context, o RollOrder) (RollAnswer, error) {
	able, err := l.roller()
	if err != nil {
		return RollAnswer{}, err
	}
	return able.Roll(ctx, o)
}

// UndoRoll takes a roll back.
func (l *Local) UndoRoll(ctx context.Context, o RollUndo) (uint64, error) {
	able, err := l.roller()
	if err != nil {
		return 0, err
	}
	return able.UndoRoll(ctx, o)
}

// Holds returns all holds.
func (l *Local) Holds(ctx context.Context) ([]Hold, error) {
	able, err := l.roller()
	if err != nil {
		return nil, err
	}
	return able.Holds(ctx)
}

// AddHold adds a hold.
func (l *Local) AddHold(ctx context.Context, h Hold) error {
	able, err := l.roller()
	if err != nil {
		return err
	}
	return able.AddHold(ctx, h)
}

// RemoveHold lifts a hold.
func (l *Local) RemoveHold(ctx context.Context, name string) error {
	able, err := l.roller()
	if err != nil {
		return err
	}
	return able.RemoveHold(ctx, name)
}
