package daemon

import (
	"context"
	"encoding/hex"
	"unicode/utf8"

	"holdfast"
	"holdfast/internal/httpapi"
	"holdfast/internal/rejects"
	"holdfast/row"
)

// Rejects implements httpapi.RejectKeeper.
func (a admin) Rejects(ctx context.Context, f httpapi.RejectFilter, emit func(httpapi.Reject) error) error {
	all := a.db.Rejects(ctx, filter(f))
	if f.Values {
		all = a.db.ExportRejects(ctx, filter(f))
	}
	for e, err := range all {
		if err == nil {
			err = emit(shown(e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func filter(f httpapi.RejectFilter) holdfast.RejectFilter {
	return holdfast.RejectFilter{
		IDs: f.IDs, Stream: f.Stream, Sink: f.Sink, Table: f.Table, Code: f.Code, State: rejects.State(f.State), Limit: f.Limit,
	}
}

// shown returns e in the words of HTTP.
func shown(e holdfast.Reject) httpapi.Reject {
	out := httpapi.Reject{
		ID: e.ID, Stream: e.Stream, Sink: e.Sink, Seq: e.Seq, Table: e.Table, State: string(e.State), Code: e.Code, Error: e.Why,
		Attempts: int(e.Attempts), Edits: int(e.Edits), Refused: e.Refused, Changed: e.Changed, Note: e.Note, Lost: e.Lost,
	}
	if e.Row != nil {
		line := httpapi.LineOf(e.Row)
		out.Columns, out.Values = line.Columns, line.Values
		if raw := e.Row.Values; e.Row.Flags&row.Malformed != 0 && len(raw) > 0 && !utf8.Valid(raw[0].Text) {
			text := hex.EncodeToString(raw[0].Text) // JSON would not keep the bytes
			out.Columns, out.Values = append(out.Columns, "line_hex"), append(out.Values, &text)
		}
	}
	return out
}

// Reject implements httpapi.RejectKeeper.
func (a admin) Reject(ctx context.Context, id uint64) (httpapi.Reject, error) {
	e, err := a.db.Reject(ctx, id)
	return shown(e), err
}

// EditReject implements httpapi.RejectKeeper.
func (a admin) EditReject(ctx context.Context, id uint64, changes map[string]*string) (httpapi.Reject, error) {
	values := make(map[string]row.Value, len(changes))
	for column, text := range changes {
		values[column] = row.Null
		if text != nil {
			values[column] = row.Text(*text)
		}
	}
	e, err := a.db.EditReject(ctx, id, values)
	return shown(e), err
}

// DiscardRejects implements httpapi.RejectKeeper.
func (a admin) DiscardRejects(ctx context.Context, f httpapi.RejectFilter, note string) (int, error) {
	return a.db.DiscardRejects(ctx, filter(f), note)
}

// RetryRejects implements httpapi.RejectKeeper.
func (a admin) RetryRejects(ctx context.Context, f httpapi.RejectFilter) (httpapi.Retried, error) {
	r, err := a.db.RetryRejects(ctx, filter(f))
	if r.Why == nil {
		r.Why = []string{}
	}
	return httpapi.Retried(r), err
}
