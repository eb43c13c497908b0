package httpapi

import "context"

// keeper returns who keeps the rejects of a data directory.
func (l *Local) keeper() (RejectKeeper, error) {
	if k, ok := l.Admin.(RejectKeeper); ok {
		return k, nil
	}
	return nil, errNoRejects
}

// Rejects calls emit for each reject that f means.
func (l *Local) Rejects(ctx context.Context, f RejectFilter, emit func(Reject) error) error {
	k, err := l.keeper()
	if err != nil {
		return err
	}
	if err := f.judge(); err != nil {
		return err
	}
	return k.Rejects(ctx, f, emit)
}

// Reject returns one reject with its values.
func (l *Local) Reject(ctx context.Context, id uint64) (Reject, error) {
	k, err := l.keeper()
	if err != nil {
		return Reject{}, err
	}
	return k.Reject(ctx, id)
}

// EditReject changes values of a reject.
func (l *Local) EditReject(ctx context.Context, id uint64, changes map[string]*string) (Reject, error) {
	k, err := l.keeper()
	if err != nil {
		return Reject{}, err
	}
	return k.EditReject(ctx, id, changes)
}

// DiscardRejects gives rejects up.
func (l *Local) DiscardRejects(ctx context.Context, f RejectFilter, note string) (int, error) {
	k, err := l.keeper()
	if err != nil {
		return 0, err
	}
	return k.DiscardRejects(ctx, f, note)
}

// RetryRejects fails: without a server nothing is delivered.
func (l *Local) RetryRejects(ctx context.Context, f RejectFilter) (Retried, error) {
	k, err := l.keeper()
	if err != nil {
		return Retried{}, err
	}
	return k.RetryRejects(ctx, f)
}
