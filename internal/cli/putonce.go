package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
)

// onceDatabase is a Database that knows rows again by their key.
type onceDatabase interface {
	PutOnce(ctx context.Context, table, contentType, key string, body io.Reader) (int, error)
}

var _ onceDatabase = (*httpapi.Client)(nil)

const (
	// askAgainFor is how long a batch is sent again whose answer did not come, where
	// nothing else is said: long enough for a server to be started again.
	askAgainFor = time.Minute
	// firstAsk and lastAsk bound the pause in between.
	firstAsk = 100 * time.Millisecond
	lastAsk  = 5 * time.Second
)

// store stores one batch. Where it stays open whether that was done the batch is
// sent again with its key, until somebody says so.
func (p *put) store(ctx context.Context, db Database, b *batch) (int, error) {
	once, able := db.(onceDatabase)
	if !able || p.keyless {
		return db.Put(ctx, p.table, b.contentType(), b.reader())
	}
	key := "put-" + rand.Text()
	send := func() (int, error) { return once.PutOnce(ctx, p.table, b.contentType(), key, b.reader()) }
	n, err := send()
	if code := fault.Code(err); code == fault.ConfigurationLimit || code == fault.FeatureNotSupported {
		p.keyless = true // the server remembers no more keys, or none at all: better without than not
		return db.Put(ctx, p.table, b.contentType(), b.reader())
	}
	open := err // what was said first
	for end, pause := time.Now().Add(p.patience), firstAsk; isOpen(open) && passing(err) && time.Now().Before(end); pause = min(2*pause, lastAsk) {
		select {
		case <-ctx.Done():
			return 0, open
		case <-time.After(pause):
		}
		n, err = send()
	}
	if isOpen(open) && passing(err) {
		return 0, open // nobody knows to this day
	}
	return n, err
}

// isOpen tells of an error that leaves open whether rows are stored.
func isOpen(err error) bool {
	return errors.Is(err, httpapi.ErrUnknown) || fault.Code(err) == fault.OutcomeUnknown
}

// passing tells of an error behind which the same question may be answered.
func passing(err error) bool {
	var dial *net.OpError
	switch fault.Code(err) {
	case fault.SerializationFailure, fault.CannotConnectNow, fault.AdminShutdown, fault.ConnectionFailure:
		return true
	}
	return isOpen(err) || errors.As(err, &dial)
}
