package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast/internal/fault"
)

// operated is a fake that takes orders and keeps rejects.
type operated struct {
	*fake
	order   Order
	filter  RejectFilter
	changes map[string]*string
	note    string
	refuse  error
}

func (o *operated) Operate(_ context.Context, order Order) (Done, error) {
	o.order = order
	return Done{Sink: order.Sink, Done: "paused", Streams: []Placed{{"main", 7}}, Note: "look"}, o.refuse
}

func (o *operated) Rotate(_ context.Context, sink string) ([]string, error) {
	o.order = Order{Sink: sink, Do: "rotate"}
	return []string{"files"}, o.refuse
}

var someReject = Reject{
	ID: 17, Stream: "main", Sink: "s", Seq: 3, Table: "t", State: "open", Code: "23514", Error: "a | b\n\"c\"", Attempts: 2,
	Refused: time.Unix(1, 0).UTC(), Changed: time.Unix(2, 0).UTC(), Columns: []string{"a", "b"}, Values: []*string{new(string), nil},
}

func (o *operated) Rejects(_ context.Context, f RejectFilter, emit func(Reject) error) error {
	o.filter = f
	for range 2 {
		if err := emit(someReject); err != nil {
			return err
		}
	}
	return o.refuse
}

func (o *operated) Reject(_ context.Context, id uint64) (Reject, error) {
	o.filter = RejectFilter{IDs: []uint64{id}}
	return someReject, o.refuse
}

func (o *operated) EditReject(_ context.Context, id uint64, changes map[string]*string) (Reject, error) {
	o.filter, o.changes = RejectFilter{IDs: []uint64{id}}, changes
	return someReject, o.refuse
}

func (o *operated) DiscardRejects(_ context.Context, f RejectFilter, note string) (int, error) {
	o.filter, o.note = f, note
	return 5, o.refuse
}

func (o *operated) RetryRejects(_ context.Context, f RejectFilter) (Retried, error) {
	o.filter = f
	return Retried{Delivered: 1, Refused: 2, Skipped: 3, Why: []string{"why"}}, o.refuse
}

// asked is what verbs ask: the client of a server, or Local.
type asked interface {
	Operate(context.Context, Order) (Done, error)
	Rotate(context.Context, string) ([]string, error)
	RejectKeeper
}

var (
	_ asked = (*Client)(nil)
	_ asked = (*Local)(nil)
)

// TestOperate gives each order through a server and without one: the same
// arrives, the same comes back, and refusals keep their code and hint.
func TestOperate(t *testing.T) {
	o := &operated{fake: &fake{}}
	server := httptest.NewServer(New(Options{Store: o, Admin: o}).Private())
	defer server.Close()
	client := NewTCP(strings.TrimPrefix(server.URL, "http://"))
	defer client.Close()
	text := "é|\x01"
	ctx := t.Context()
	filter := RejectFilter{IDs: []uint64{1, 1 << 63}, Stream: "m", Sink: "s", Table: "t/ü", Code: "23514", State: "all", Limit: 9, Values: true}
	for name, db := range map[string]asked{"server": client, "local": &Local{Store: o, Admin: o}} {
		for _, order := range []Order{
			{Sink: "a/b ü", Do: "pause", Stream: "main"}, {Sink: "a", Do: "seek", Seq: 1 << 63}, {Sink: "a", Do: "rename", To: "b"},
			{Sink: "a", Do: "resume", Replay: true, AcceptGap: true}, {Sink: "a", Do: "retire", Force: true}, {Sink: "a", Do: "drain", Seconds: 1.5},
		} {
			done, err := db.Operate(ctx, order)
			if err != nil || o.order != order || done.Sink != order.Sink || done.Note != "look" || done.Streams[0].Seq != 7 {
				t.Errorf("%s: %+v became %+v, answer %+v, %v", name, order, o.order, done, err)
			}
		}
		if names, err := db.Rotate(ctx, "x y"); err != nil || o.order.Sink != "x y" || fmt.Sprint(names) != "[files]" {
			t.Errorf("%s: rotate: %v, %v", name, names, err)
		}
		n := 0
		err := db.Rejects(ctx, filter, func(r Reject) error {
			n++
			if !reflect.DeepEqual(r, someReject) {
				t.Errorf("%s: listed %+v", name, r)
			}
			return nil
		})
		if err != nil || n != 2 || !reflect.DeepEqual(o.filter, filter) {
			t.Errorf("%s: list: %d, %v, filter %+v", name, n, err, o.filter)
		}
		if r, err := db.Reject(ctx, 17); err != nil || !reflect.DeepEqual(r, someReject) || o.filter.IDs[0] != 17 {
			t.Errorf("%s: show: %+v, %v", name, r, err)
		}
		if _, err := db.EditReject(ctx, 18, map[string]*string{"a": &text, "b": nil}); err != nil || *o.changes["a"] != text || o.changes["b"] != nil || len(o.changes) != 2 {
			t.Errorf("%s: edit: %v, %v", name, o.changes, err)
		}
		if n, err := db.DiscardRejects(ctx, filter, text); err != nil || n != 5 || o.note != text || o.filter.Sink != "s" {
			t.Errorf("%s: discard: %d, %v", name, n, err)
		}
		if r, err := db.RetryRejects(ctx, filter); err != nil || r.Skipped != 3 || r.Why[0] != "why" {
			t.Errorf("%s: retry: %+v, %v", name, r, err)
		}

		o.refuse = fault.New(fault.UndefinedObject, "there is none").WithHint("look")
		_, operate := db.Operate(ctx, Order{Sink: "a", Do: "pause"})
		_, rotate := db.Rotate(ctx, "")
		list := db.Rejects(ctx, filter, func(Reject) error { return nil })
		_, show := db.Reject(ctx, 1)
		_, edit := db.EditReject(ctx, 1, nil)
		_, discard := db.DiscardRejects(ctx, filter, "")
		_, retry := db.RetryRejects(ctx, filter)
		for i, err := range []error{operate, rotate, list, show, edit, discard, retry} {
			if fault.Code(err) != fault.UndefinedObject || fault.Of(err).Hint != "look" {
				t.Errorf("%s: refusal %d is %v", name, i, err)
			}
		}
		o.refuse = nil
		if err := db.Rejects(ctx, RejectFilter{State: "opened"}, nil); fault.Code(err) != fault.InvalidParameterValue {
			t.Errorf("%s: a state that is none: %v", name, err)
		}
		stop := errors.New("enough")
		if err := db.Rejects(ctx, filter, func(Reject) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("%s: emit's error does not come back: %v", name, err)
		}
	}
}

// TestOrdersAreThePrivateDoors holds that nobody gives orders over TCP, and
// that requests which are wrong are refused before anything is done.
func TestOrdersAreThePrivateDoors(t *testing.T) {
	o := &operated{fake: &fake{}}
	api := New(Options{Store: o, Admin: o})
	without := New(Options{Store: &fake{}, Admin: &fake{}})
	for _, test := range []struct {
		api                *API
		public             bool
		method, path, body string
		status             int
		says               string
	}{
		{api, true, "POST", "/v1/sinks/a/pause", "", 404, "nothing is at"},
		{api, true, "GET", "/v1/rejects", "", 404, "nothing is at"},
		{api, true, "POST", "/v1/rotate", "", 404, "nothing is at"},
		{api, false, "POST", "/v1/sinks/a/pause", "", 200, `"done":"paused"`},
		{api, false, "GET", "/v1/sinks/a/pause", "", 405, "method"},
		{api, false, "POST", "/v1/sinks/a/remove", "", 404, "order \\\"remove\\\" is not known"},
		{api, false, "POST", "/v1/sinks/a/seek", `{"seq": -1}`, 400, "cannot be read"},
		{api, false, "POST", "/v1/sinks/a/seek", `{"sequence": 1}`, 400, "cannot be read"},
		{api, false, "GET", "/v1/rejects?state=x", "", 400, "state"},
		{api, false, "GET", "/v1/rejects?limit=-1", "", 400, "limit"},
		{api, false, "GET", "/v1/rejects?id=x", "", 400, "id"},
		{api, false, "GET", "/v1/rejects/x", "", 400, "not one of a reject"},
		{api, false, "POST", "/v1/rejects/retry", `{"state":"x"}`, 400, "state"},
		{without, false, "POST", "/v1/sinks/a/pause", "", 400, "takes no orders"},
		{without, false, "POST", "/v1/rotate", "", 400, "takes no orders"},
		{without, false, "GET", "/v1/rejects", "", 400, "keeps no rejects"},
		{without, false, "GET", "/v1/rejects/1", "", 400, "keeps no rejects"},
		{without, false, "POST", "/v1/rejects/discard", "{}", 400, "keeps no rejects"},
	} {
		h := test.api.Private()
		if test.public {
			h = test.api.Public()
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(test.method, "http://localhost"+test.path, strings.NewReader(test.body)))
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s %s %s: %d %s, want %d and %q", test.method, test.path, test.body, w.Code, w.Body, test.status, test.says)
		}
	}
}
