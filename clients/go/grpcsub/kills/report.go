package main

import (
	"fmt"

	"vidette.dev/go"
)

// report prints a line for each reader, and says whether all is right.
func report(readers []*reader, published *history) bool {
	isGood := true

	for _, reader := range readers {
		if err := <-reader.done; err != nil {
			fmt.Printf("%s: %v\n", reader.name, err)
			isGood = false
			continue
		}

		lost, doubled, disorder, wrong := compare(reader.events, published)
		fmt.Printf("%s: %d read, %d lost, %d doubled, %d out of order, %d receipts wrong; "+
			"%d reconnects, %d duplicates dropped, %d gaps\n",
			reader.name, len(reader.events), lost, doubled, disorder, wrong,
			reader.state.Reconnects, reader.state.Duplicates, reader.state.Gaps)
		isGood = isGood && lost+doubled+disorder+wrong+reader.state.Gaps == 0
	}
	return isGood
}

// compare checks what was read: each number of each publisher once, in its order, with rising vids,
// and with the vid that its receipt names.
func compare(read []vidette.Received, published *history) (lost, doubled, disorder, wrong int) {
	last, lastVid := map[string]int{}, uint64(0)
	seen := map[number]bool{}

	for _, event := range read {
		data := numberOf(event)
		data.IsLast = false
		if seen[data] {
			doubled++
			continue
		}
		seen[data] = true

		if data.N != last[data.Publisher] || event.Vid <= lastVid {
			disorder++
		}
		last[data.Publisher], lastVid = data.N+1, event.Vid
		vids := published.vids[data.Publisher]
		if data.N >= len(vids) || vids[data.N] != event.Vid {
			wrong++
		}
	}

	for name, vids := range published.vids {
		for n := range vids {
			if !seen[number{name, n, false}] {
				lost++
			}
		}
	}
	return lost, doubled, disorder, wrong
}
