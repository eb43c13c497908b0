package daemon

import (
	"context"
	"errors"
	"log/slog"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/sink"
)

// Compare opens a sink of a configuration to be compared with a stream: as it is
// at one moment, beside whatever is delivered. Close of what it returns closes
// the sink, too.
func Compare(ctx context.Context, c *config.Config, name string, id sink.ID) (sink.Comparison, holdfast.Shape, error) {
	k := c.Sinks[name]
	if k == nil {
		return nil, holdfast.Shape{}, fault.New(fault.UndefinedObject, "there is no sink %q", name).WithHint("holdfast status names them")
	}
	to, err := openSink(c, k, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, holdfast.Shape{}, err
	}
	able, ok := to.(sink.Comparer)
	if !ok {
		err := fault.New(fault.FeatureNotSupported, "sink %q is of type %s, and cannot be compared", name, k.Type).WithHint("postgres, mysql and sqlite can be")
		return nil, holdfast.Shape{}, errors.Join(err, to.Close())
	}
	at, err := able.Compare(ctx, id)
	if errors.Is(err, sink.ErrNoCursor) {
		err = fault.New(fault.UndefinedObject, "nothing of stream %q was ever delivered to sink %q", id.Stream, name)
	}
	if err != nil {
		return nil, holdfast.Shape{}, errors.Join(err, to.Close())
	}
	return compared{at, to}, shape(k), nil
}

// compared is a comparison with a sink of its own.
type compared struct {
	sink.Comparison
	sink sink.Sink
}

// Close ends the comparison and closes its sink.
func (c compared) Close() error { return errors.Join(c.Comparison.Close(), c.sink.Close()) }
