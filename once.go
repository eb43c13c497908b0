package holdfast

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"holdfast/internal/dedupe"
	"holdfast/internal/fault"
	"holdfast/row"
)

// Requests says for how long a request that names itself by a key is known
// again, over restarts too. The zero Requests know none.
type Requests struct {
	Window time.Duration
	Keys   int // that are remembered at most, in each stream
}

// Once is a request that names itself, so that it is stored once however often
// it is sent. Its key counts for one user and one table.
type Once struct {
	User, Table, Key string
}

// Answer is what a request was answered.
type Answer struct {
	Rows   int
	Digest [32]byte // of its content, as its sender made it
}

// requestsTable is the name under which state rows of requests stand in a
// stream; that they are such, their flag says.
const requestsTable = "holdfast_requests"

var requestColumns = []row.Column{{Name: "key", Type: "text"}, {Name: "digest", Type: "text"}, {Name: "rows", Type: "bigint"}}

// BeginOnce returns a transaction whose rows are stored together with the
// request's key, or the answer that the request had; its rows are flushed then.
// One that is under way is waited for, for at most five seconds: then the error
// has code 40001. Answered must be called before Commit.
func (db *DB) BeginOnce(ctx context.Context, o Once) (*Tx, *Answer, error) {
	s := db.route(o.Table)
	if s.guard == nil || db.o.Requests.Window <= 0 {
		return nil, nil, fault.New(fault.FeatureNotSupported, "requests are not known again here").WithHint("configure a window for them")
	}
	c, before, after, err := s.guard.Begin(ctx, dedupe.RequestKey(o.User, o.Table, o.Key))
	if err != nil {
		return nil, nil, err
	}
	if before != nil {
		if err := s.journal.Await(ctx, after); err != nil {
			return nil, nil, err
		}
		return nil, &Answer{Rows: before.Rows, Digest: before.Digest}, nil
	}
	return &Tx{db: db, stream: s, claim: c, guard: s.guard, once: &Answer{}}, nil, nil
}

// Answered says what is to be known of the request besides the number of its
// rows. It must be called before Commit.
func (t *Tx) Answered(digest [32]byte) {
	if t.once != nil {
		t.once.Digest = digest
	}
}

// addState puts the request's key behind the rows.
func (t *Tx) addState() error {
	if t.once == nil {
		return nil
	}
	a := dedupe.Answer{Digest: t.once.Digest, Rows: t.Rows()}
	t.claim.Answered(a)
	k := t.claim.RequestKey()
	if t.batch == nil {
		t.batch = t.db.batches.Get().(*row.Batch)
	}
	return t.batch.Add(t.stream.journal.Intern(requestsTable, requestColumns), row.State, []row.Value{
		row.Text(hex.EncodeToString(k[:])), row.Text(hex.EncodeToString(a.Digest[:])), row.Text(strconv.Itoa(a.Rows)),
	})
}

// rememberRequest notes the request that a state row is of.
func (g *guard) rememberRequest(r *row.Row) {
	var k dedupe.Key
	var a dedupe.Answer
	if r.Schema.Table != requestsTable || len(r.Values) != 3 {
		return
	}
	n, err := hex.Decode(k[:], r.Values[0].Text[:min(len(r.Values[0].Text), 2*len(k))])
	d, derr := hex.Decode(a.Digest[:], r.Values[1].Text[:min(len(r.Values[1].Text), 2*len(a.Digest))])
	rows, rerr := strconv.Atoi(string(r.Values[2].Text))
	if err == nil && derr == nil && rerr == nil && n == len(k) && d == len(a.Digest) {
		a.Rows = rows
		g.RememberRequest(k, a, r.Received)
	}
}
