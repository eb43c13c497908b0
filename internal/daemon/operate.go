package daemon

import (
	"context"
	"fmt"
	"time"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

// Operate implements httpapi.Operator.
func (a admin) Operate(ctx context.Context, o httpapi.Order) (httpapi.Done, error) {
	done := httpapi.Done{Sink: o.Sink, Done: o.Do + "d", Streams: []httpapi.Placed{}}
	var err error
	switch o.Do {
	case "pause":
		err = a.db.PauseSink(o.Sink, o.Stream)
	case "resume":
		err = a.db.ResumeSink(o.Sink, holdfast.Resume{Stream: o.Stream, Replay: o.Replay, AcceptGap: o.AcceptGap})
	case "seek":
		done.Done = "moved"
		_, err = a.db.SeekSink(ctx, o.Sink, o.Stream, o.Seq)
	case "drain":
		done.Done = "drained"
		if o.Seconds > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(min(o.Seconds, 1e9)*float64(time.Second)))
			defer cancel()
		}
		err = a.db.DrainSink(ctx, o.Sink)
	case "retire":
		return a.retire(ctx, o)
	case "rename":
		if err = a.db.RenameSink(o.Sink, o.To); err == nil {
			done.Sink, done.Note = o.To, fmt.Sprintf("call it %q in the configuration too; %q means it until then", o.To, o.Sink)
		}
	default:
		err = fault.New(fault.UndefinedObject, "order %q is not known", o.Do)
	}
	if err != nil {
		return httpapi.Done{}, err
	}
	for _, k := range a.db.Status().Sinks {
		if k.Name == done.Sink && (o.Stream == "" || o.Stream == k.Stream) {
			done.Streams = append(done.Streams, httpapi.Placed{Stream: k.Stream, Seq: k.Seq})
		}
	}
	return done, nil
}

// retire ends a registration, and says what is left to do.
func (a admin) retire(ctx context.Context, o httpapi.Order) (httpapi.Done, error) {
	r, err := a.db.RetireSink(ctx, o.Sink, o.Force)
	if err != nil {
		return httpapi.Done{}, err
	}
	done := httpapi.Done{Sink: o.Sink, Done: "retired", Streams: []httpapi.Placed{}, Rows: r.Rows, Cursors: r.Cursors}
	if r.Rows > 0 {
		done.Note = fmt.Sprintf("%d rows were not delivered to it; ", r.Rows)
	}
	if r.Error != "" {
		done.Note += "its cursor may still be in the sink: " + r.Error + "; "
	}
	done.Note += "take it out of the configuration"
	return done, nil
}

// Rotate implements httpapi.Operator.
func (a admin) Rotate(ctx context.Context, sink string) ([]string, error) {
	if a.server == nil {
		return nil, fault.New(fault.CannotConnectNow, "no server runs here, so no file is open").WithHint("start it with holdfast serve")
	}
	if ok, err := a.server.rotateSource(ctx, sink); ok {
		return []string{sink}, err
	}
	return a.db.RotateSinks(sink)
}

// advice tells what there is to do about a sink; "" where that is nothing. While
// no server runs, every sink is detached.
func advice(k holdfast.SinkStatus, running bool) string {
	switch k.State {
	case holdfast.Detached:
		if !running {
			return "start the server, holdfast serve: none runs, so nothing is delivered"
		}
		return "name it in the configuration again, or end it: holdfast sink retire " + k.Name
	case "paused":
		return "holdfast sink resume " + k.Name
	case "waiting":
		return "mend what last_error says; it tries again by itself"
	case "halted":
		return remedy(k)
	}
	if k.RejectsOpen > 0 {
		return "holdfast rejects list --sink " + k.Name
	}
	return ""
}

// remedy tells how a halt ends.
func remedy(k holdfast.SinkStatus) string {
	resume := "holdfast sink resume " + k.Name
	switch k.Reason {
	case "fenced":
		return "another server has taken it over: stop that one, then " + resume
	case "no cursor":
		return "find out who removed its cursor; then holdfast sink replay " + k.Name
	case "restored":
		return "if the copy that is there now is to be kept: holdfast sink replay " + k.Name
	case "other journal":
		return "if the data directory was restored from an older copy: holdfast sink seek " + k.Name + " SEQ --stream " + k.Stream +
			" with the last row of this directory that is in the sink; else the sink is of another one, give it another database"
	case "gap":
		return "if no other copy of those rows is left: " + resume + " --accept-gap"
	case "reject budget":
		return "holdfast rejects list --sink " + k.Name + "; retry or discard some, or raise reject_budget"
	case "flood":
		return "see why it refuses so many; to set them aside all the same: " + resume
	case "damage":
		return "holdfast verify, then holdfast repair"
	}
	return "mend what last_error says; it tries again by itself"
}
