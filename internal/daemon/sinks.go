package daemon

import (
	"errors"
	"fmt"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/sink"
	"holdfast/sink/sqlite"
)

// openSinks opens every sink of c. A sink that is away is no error: delivery
// tries again for ever.
func openSinks(c *config.Config) (all []holdfast.Sink, err error) {
	for _, name := range c.SinkNames() {
		k := c.Sinks[name]
		to, err := openSink(k)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open sink %q: %w", name, err), closeSinks(all))
		}
		flood := float64(k.RejectFlood) / 100
		if k.RejectFlood == 0 {
			flood = -1 // off
		}
		all = append(all, holdfast.Sink{
			Name: name, Sink: to, Streams: k.Streams, Replay: k.OnRewind == config.ReplayOnRewind, Now: k.Start == config.StartNow,
			WholeTransactions: k.RejectUnit == config.UnitTransaction, RejectBudget: k.RejectBudget, RejectFlood: flood,
		})
	}
	return all, nil
}

func closeSinks(all []holdfast.Sink) error {
	var errs []error
	for _, k := range all {
		errs = append(errs, k.Sink.Close())
	}
	return errors.Join(errs...)
}

// openSink opens one sink of its kind.
func openSink(k *config.Sink) (sink.Sink, error) {
	switch k.Type {
	case config.SQLite:
		return sqlite.Open(k.File, sqlite.Options{Fixed: k.Create == config.CreateNever})
	}
	return nil, fault.New(fault.FeatureNotSupported, "sinks of type %q cannot be used yet", string(k.Type)).
		WithHint("this version has sqlite")
}
