package httpapi

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"net/http"

	"holdfast/internal/auth"
	"holdfast/internal/fault"
)

// maxKey is the length of the longest Idempotency-Key, in bytes.
const maxKey = 255

// Once is a request that names itself by a key, so that it is stored once
// however often it is sent.
type Once struct {
	User, Table, Key string
}

// Answer is what a request was answered.
type Answer struct {
	Rows   int
	Digest [sha256.Size]byte // of its content
}

// OnceTx is the transaction of a request that names itself.
type OnceTx interface {
	Tx
	// Answered says what content was stored; it is called before Commit.
	Answered(digest [sha256.Size]byte)
}

// OnceStore is implemented by a Store that knows requests again.
type OnceStore interface {
	// BeginOnce begins the transaction of a request, or returns what it was
	// answered before. One that is under way for long gives an error with
	// fault.SerializationFailure.
	BeginOnce(ctx context.Context, o Once) (OnceTx, *Answer, error)
}

// postOnce is postRows of a request that names itself.
func (a *API) postOnce(w http.ResponseWriter, r *http.Request, in *unpacked, durable bool) {
	who, _ := r.Context().Value(whoKey{}).(auth.Who)
	o := Once{User: who.Name(), Table: r.PathValue("table"), Key: r.Header.Get("Idempotency-Key")}
	s, able := a.o.Store.(OnceStore)
	err := judgeKey(r.Header.Values("Idempotency-Key"))
	if !able {
		err = fault.New(fault.FeatureNotSupported, "an Idempotency-Key is not taken here").WithHint("send the request without")
	}
	var tx OnceTx
	var before *Answer
	if err == nil {
		tx, before, err = s.BeginOnce(r.Context(), o)
	}
	if err != nil {
		w.Header().Set("Connection", "close") // the body is not read
		fail(w, err)
		return
	}
	sum := sha256.New()
	io.WriteString(sum, r.Header.Get("Content-Type")+"\n")
	body := io.TeeReader(in, sum)
	if before == nil {
		defer tx.Rollback() // where nothing came to its commit
		rows, err := a.put(r, &onceStore{Store: a.o.Store, tx: tx, sum: sum}, Load{Body: body, Durable: durable}, in.from.hurry)
		a.answerRows(w, rows, err)
		return
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		a.answerRows(w, 0, refusal(0, err))
		return
	}
	if [sha256.Size]byte(sum.Sum(nil)) != before.Digest {
		refuse(w, http.StatusUnprocessableEntity, fault.New(fault.InvalidParameterValue, "the Idempotency-Key %.64q was sent before with another body", o.Key).
			WithHint("give each request a key of its own, and send the same bytes when it is sent again"))
		return
	}
	w.Header().Set("Idempotency-Replayed", "true")
	a.answerRows(w, before.Rows, nil)
}

// judgeKey refuses what is no key.
func judgeKey(keys []string) error {
	ok := len(keys) == 1 && len(keys[0]) > 0 && len(keys[0]) <= maxKey
	for i := 0; ok && i < len(keys[0]); i++ {
		ok = keys[0][i] > ' ' && keys[0][i] < 0x7f
	}
	if ok {
		return nil
	}
	return fault.New(fault.InvalidParameterValue, "the Idempotency-Key cannot be used").
		WithHint("send one, of 1 to %d visible ASCII characters, like a UUID", maxKey)
}

// onceStore is a Store with the one transaction of a request.
type onceStore struct {
	Store
	tx  OnceTx
	sum hash.Hash // of what was read
}

// Begin returns it.
func (s *onceStore) Begin() Tx { return &summed{s.tx, s.sum} }

// summed tells its transaction, at its commit, what was read.
type summed struct {
	OnceTx
	sum hash.Hash
}

// Commit stores the rows with the request's key.
func (t *summed) Commit(ctx context.Context, durable bool) error {
	t.Answered([sha256.Size]byte(t.sum.Sum(nil)))
	return t.OnceTx.Commit(ctx, durable)
}
