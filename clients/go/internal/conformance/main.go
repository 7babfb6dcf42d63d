// Command conformance does what clients/conformance asks for, a line of JSON at a time.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	freshet "github.com/freshet-dev/freshet/clients/go"
)

type call struct {
	Call, Cache, Codec, Text, Lease, Tag, Address string
	Key, Params                                   []any
	Value                                         any
	Times                                         int
	Timeout                                       float64
	Put                                           []item
	Delete                                        [][]any
	Clear                                         bool
	Options                                       struct {
		Wait        *float64
		MinPosition string `json:"min_position"`
		NoCache     bool   `json:"no_cache"`
		fill
	}
}

type item struct {
	Key         []any
	Value       any
	Unencodable bool
	TTL         float64
	Codec       string
}

type fill struct {
	Depends  []any
	Position string
	MaxAge   float64 `json:"max_age"`
}

type turn struct {
	Value  any
	Absent bool
	Repeat int
	Error  string
	Fill   fill
}

type object = map[string]any

var (
	lines = bufio.NewReaderSize(os.Stdin, 1<<20)
	told  [][2]string
)

func main() {
	client := newClient(0)
	for {
		var call call
		if !hear(&call) {
			return
		}
		told = [][2]string{}
		if call.Call == "new" {
			client.Close()
			client = newClient(seconds(call.Timeout))
		}
		started := time.Now()
		answer := answer(client, call)
		answer["ms"], answer["told"] = time.Since(started).Milliseconds(), told
		say(object{"answer": answer})
	}
}

func newClient(timeout time.Duration) *freshet.Client {
	tell := func(cache, problem string) { told = append(told, [2]string{cache, problem}) }
	client, err := freshet.New(freshet.Config{Timeout: timeout, ConnectTimeout: timeout, OnProblem: tell})
	if err != nil {
		panic(err)
	}
	return client
}

func answer(client *freshet.Client, call call) object {
	ctx, key, options := context.Background(), freshet.Columns(values(call.Key)...), options(call)
	switch call.Call {
	case "new":
		return object{}
	case "address":
		_, err := freshet.New(freshet.Config{Address: call.Address})
		return object{"taken": err == nil}
	case "query_key":
		key, err := freshet.QueryKey(call.Text, values(call.Params)...)
		return object{"key": key, "error": text(err)}
	case "get":
		answer := client.Get(ctx, call.Cache, key, options...)
		said := shown(answer)
		if answer.ContentType != "" {
			said["type"] = answer.ContentType
		}
		if answer.Bytes != nil {
			said["text"] = string(answer.Bytes)
		}
		return said
	case "many":
		var hits atomic.Int64
		var group sync.WaitGroup
		for range call.Times {
			group.Add(1)
			go func() {
				defer group.Done()
				if client.Get(ctx, call.Cache, key).Status == freshet.Hit {
					hits.Add(1)
				}
			}()
		}
		group.Wait()
		return object{"hits": hits.Load()}
	case "put":
		if call.Codec == "json" {
			options = append(options, freshet.WithCodec(freshet.JSON))
		}
		return object{"outcome": client.Put(ctx, call.Cache, key, call.Lease, call.Value, options...)}
	case "publish":
		return publish(ctx, client, call)
	case "invalidate_tag":
		return object{"outcome": client.InvalidateTag(ctx, call.Tag)}
	case "delete":
		return object{"outcome": client.Delete(ctx, call.Cache, key)}
	}
	switch call.Codec {
	case "json":
		options = append(options, freshet.WithCodec(freshet.JSON))
	case "bytes":
		return load[[]byte](ctx, client, call, key, append(options, freshet.WithCodec(freshet.Bytes("application/octet-stream"))))
	}
	return load[any](ctx, client, call, key, options)
}

func publish(ctx context.Context, client *freshet.Client, call call) object {
	publication := freshet.Publication{Clear: call.Clear}
	for _, key := range call.Delete {
		publication.Delete = append(publication.Delete, freshet.Columns(values(key)...))
	}
	for _, item := range call.Put {
		publication.Put = append(publication.Put, item.said())
	}
	done, err := client.Publish(ctx, call.Cache, publication)
	if err == nil {
		return object{
			"applied": done.Applied, "start": done.Start.UnixMilli(), "publisher": done.Publisher, "sequence": done.Sequence,
		}
	}
	kinds := map[error]string{
		freshet.ErrPublishMistake: "mistake", freshet.ErrPublishRefused: "refused",
		freshet.ErrPublishUnavailable: "unavailable", freshet.ErrPublishUnknown: "unknown",
	}
	var failed *freshet.PublishError
	if !errors.As(err, &failed) || !errors.Is(err, failed.Kind) {
		panic(err)
	}
	said := object{"failed": kinds[failed.Kind], "problem": failed.Problem, "reason": failed.Detail}
	if failed.RetryAfter > 0 {
		said["retry_after"] = int(failed.RetryAfter.Seconds())
	}
	return said
}

// said is a value that is to be published.
func (i item) said() freshet.Value {
	key, ttl := freshet.Columns(values(i.Key)...), seconds(i.TTL)
	switch {
	case i.Unencodable:
		return freshet.NewValue(key, func() {}, ttl)
	case i.Codec == "json":
		return freshet.NewValue(key, i.Value, ttl, freshet.WithCodec(freshet.JSON))
	case i.Codec == "bytes":
		data, err := base64.StdEncoding.DecodeString(i.Value.(string))
		if err != nil {
			panic(err)
		}
		return freshet.NewValue(key, data, ttl, freshet.WithCodec(freshet.Bytes("application/octet-stream")))
	}
	return freshet.NewValue(key, i.Value, ttl)
}

func load[T any](ctx context.Context, client *freshet.Client, call call, key freshet.Key, options []freshet.Option) object {
	load := func(_ context.Context, fill *freshet.Fill) (value T, err error) {
		say(object{"load": true})
		var turn turn
		hear(&turn)
		if turn.Fill.Depends != nil {
			fill.Depends = dependencies(turn.Fill.Depends)
		}
		if turn.Fill.Position != "" {
			fill.Position = turn.Fill.Position
		}
		if turn.Fill.MaxAge > 0 {
			fill.MaxAge = seconds(turn.Fill.MaxAge)
		}
		switch {
		case turn.Error != "":
			return value, errors.New(turn.Error)
		case turn.Absent:
			return value, freshet.ErrAbsent
		case turn.Repeat > 0:
			turn.Value = strings.Repeat("x", turn.Repeat)
		}
		// Bytes are base64 in JSON.
		data, _ := json.Marshal(turn.Value)
		return value, json.Unmarshal(data, &value)
	}
	value, answer, err := freshet.GetOrLoad(ctx, client, call.Cache, key, load, options...)
	said := shown(answer)
	switch {
	case err == nil:
		said["value"] = value
	case !errors.Is(err, freshet.ErrAbsent):
		return object{"error": err.Error()}
	}
	return said
}

func options(call call) []freshet.Option {
	options := []freshet.Option{
		freshet.MinPosition(call.Options.MinPosition),
		freshet.Depends(dependencies(call.Options.Depends)...),
		freshet.Position(call.Options.Position),
		freshet.MaxAge(seconds(call.Options.MaxAge)),
	}
	if call.Options.Wait != nil {
		options = append(options, freshet.Wait(seconds(*call.Options.Wait)))
	}
	if call.Options.NoCache {
		options = append(options, freshet.NoCache())
	}
	return options
}

func shown(answer freshet.Answer) object {
	said := object{"status": answer.Status, "value": nil}
	if answer.Found {
		said["ttl"], said["age"] = int(answer.TTL.Seconds()), int(answer.Age.Seconds())
	}
	texts := map[string]string{
		"detail": answer.Detail, "position": answer.Position, "lease": answer.Lease, "fill": answer.Fill,
		"stored": answer.Stored,
	}
	for name, text := range texts {
		if text != "" {
			said[name] = text
		}
	}
	return said
}

func dependencies(items []any) []string {
	texts := make([]string, len(items))
	for i, item := range items {
		if text, ok := item.(string); ok {
			texts[i] = text
			continue
		}
		for kind, words := range item.(object) {
			words := values(words.([]any))
			switch kind {
			case "table":
				texts[i] = freshet.Table(words[0].(string))
			case "row":
				texts[i] = freshet.Row(words[0].(string), words[1:]...)
			case "tag":
				texts[i] = freshet.Tag(words[0].(string))
			}
		}
	}
	return texts
}

func values(items []any) []any {
	for i, item := range items {
		if integer, ok := item.(object); ok {
			number, err := strconv.ParseInt(integer["integer"].(string), 10, 64)
			if err != nil {
				panic(err)
			}
			items[i] = number
		}
	}
	return items
}

func text(err error) any {
	if err != nil {
		return err.Error()
	}
	return nil
}

func seconds(number float64) time.Duration { return time.Duration(number * float64(time.Second)) }

func say(message any) {
	data, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(data, '\n'))
}

func hear(into any) bool {
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return false
	}
	if err := json.Unmarshal(line, into); err != nil {
		panic(err)
	}
	return true
}
