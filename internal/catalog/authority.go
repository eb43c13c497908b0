package catalog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// AuthorityOptions configure Follow.
type AuthorityOptions struct {
	Sink     string                                     // the sink's name
	Describe func(ctx context.Context) ([]Table, error) // all its tables, as they are now
	Every    time.Duration                              // how often it is asked without a reason; 0: five minutes
	Log      *slog.Logger                               // nil: nothing is logged
}

const (
	askEvery = 5 * time.Minute
	// askTime is how long a writer waits for an answer before what is known
	// decides.
	askTime = 2 * time.Second
	// describeTime is how long an answer that nobody waits for may take.
	describeTime = 10 * time.Second
	// pause is the least time from one answer to the next question, so that
	// writers of wrong rows do not keep the sink busy. It doubles with each
	// question without an answer up to longestPause, since those make each
	// writer of a wrong row wait.
	pause        = time.Second
	longestPause = 16 * time.Second
)

// Authority keeps the catalog in line with the definitions of one sink. Its
// methods are safe for concurrent use.
type Authority struct {
	c      *Catalog
	o      AuthorityOptions
	ctx    context.Context
	stop   context.CancelFunc
	wake   chan struct{}
	asking sync.WaitGroup // of goroutines

	mu       sync.Mutex
	current  *question // nil: none is open
	answered time.Time // when the last one ended
	failures int       // since the last answer
	unfit    string    // what was last said of tables that cannot be used
}

// question is one look at the sink's definitions, shared by all who wait.
type question struct {
	done chan struct{} // closed when err is set
	err  error
}

// Follow makes a sink an authority: it is asked at once, every few minutes,
// after Notify, and by Ask. Close ends that; what was adopted stays.
func (c *Catalog) Follow(o AuthorityOptions) *Authority {
	if o.Every <= 0 {
		o.Every = askEvery
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Authority{c: c, o: o, wake: make(chan struct{}, 1)}
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.asking.Go(a.run)
	return a
}

// Close returns once nothing asks the sink any more. Idempotent.
func (a *Authority) Close() {
	a.mu.Lock() // so that nothing is asked between the two
	a.stop()
	a.mu.Unlock()
	a.asking.Wait()
}

// Sink returns the sink's name.
func (a *Authority) Sink() string { return a.o.Sink }

// Notify says that the definitions may have changed; it does not wait.
func (a *Authority) Notify() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run asks without anybody waiting.
func (a *Authority) run() {
	for a.ctx.Err() == nil {
		wait := a.o.Every
		if q := a.open(describeTime); q == nil {
			wait = pause // somebody has just asked
		} else if <-q.done; q.err != nil {
			wait = min(wait, 2*longestPause)
		}
		timer := time.NewTimer(wait)
		select {
		case <-a.ctx.Done():
		case <-timer.C:
		case <-a.wake:
			a.settle()
		}
		timer.Stop()
	}
}

// settle waits until a question may be asked again.
func (a *Authority) settle() {
	a.mu.Lock()
	wait := time.Until(a.answered.Add(a.pauseLocked()))
	a.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-a.ctx.Done():
	case <-timer.C:
	}
}

func (a *Authority) pauseLocked() time.Duration {
	return min(pause<<min(a.failures, 10), longestPause)
}

// Ask looks at the sink's definitions again, before a writer is refused. It
// returns once there is an answer, after two seconds, or at once where the
// sink has just been asked: then what is known must do.
func (a *Authority) Ask() {
	q := a.open(askTime)
	if q == nil {
		return
	}
	timer := time.NewTimer(askTime)
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
	case <-a.ctx.Done():
	}
}

// open returns the question that is open, or opens one; nil where it is too
// early for another.
func (a *Authority) open(limit time.Duration) *question {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil {
		return a.current
	}
	if a.ctx.Err() != nil || time.Since(a.answered) < a.pauseLocked() {
		return nil
	}
	q := &question{done: make(chan struct{})}
	a.current = q
	a.asking.Go(func() {
		ctx, cancel := context.WithTimeout(a.ctx, limit)
		defer cancel()
		tables, err := a.o.Describe(ctx)
		changed := false
		if err == nil {
			changed, err = a.c.Adopt(a.o.Sink, tables)
		}
		a.answer(q, changed, err)
	})
	return q
}

// answer closes a question.
func (a *Authority) answer(q *question, changed bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var unfit *UnfitError
	switch {
	case errors.As(err, &unfit):
		if err = nil; a.unfit != unfit.Error() {
			a.unfit = unfit.Error()
			a.o.Log.Warn("some tables cannot be used", "sink", a.o.Sink, "error", unfit)
		}
	case err != nil && a.failures == 0 && a.ctx.Err() == nil:
		a.o.Log.Warn("definitions of tables cannot be asked for; those that are known decide", "sink", a.o.Sink, "error", err)
	}
	if changed {
		a.o.Log.Info("definitions of tables were taken over", "sink", a.o.Sink)
	}
	if a.failures++; err == nil {
		a.failures = 0
	}
	a.current, a.answered = nil, time.Now()
	q.err = err
	close(q.done)
}
