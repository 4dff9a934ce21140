package example;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import vidette.v1.EventBusGrpc;
import vidette.v1.Vidette.Event;
import vidette.v1.Vidette.Gap;
import vidette.v1.Vidette.SubscribeRequest;
import vidette.v1.Vidette.SubscribeResponse;

/** Follows topics, and resumes after the last event that was handled, also after a restart of this program. */
public final class Subscriber {
    private static final long BASE_MS = 500;
    private static final long LONGEST_MS = 20_000;
    private static final long HELLO_MS = 10_000;

    /** What a new try cannot mend. */
    private static final Set<Status.Code> FINAL = Set.of(
            Status.Code.INVALID_ARGUMENT, Status.Code.UNAUTHENTICATED, Status.Code.PERMISSION_DENIED);

    private final ManagedChannel channel;
    private final List<String> topics;
    private final Path cursorFile;

    /** Everything up to here is handled: "VID-EPOCH", or where to begin. */
    private String cursor;
    private String epoch = "";
    private long lastVid;
    private int failures;
    private long silentAfterMs;
    private Long askedWaitMs; // What "closing" asked for.

    Subscriber(ManagedChannel channel, List<String> topics, Path cursorFile) throws IOException {
        this.channel = channel;
        this.topics = topics;
        this.cursorFile = cursorFile;
        this.cursor = Files.exists(cursorFile) ? Files.readString(cursorFile).strip() : "earliest";
    }

    public static void main(String[] arguments) throws Exception {
        // With TLS and a token: TlsChannelCredentials.create(), and CallCredentials that add "authorization".
        ManagedChannel channel = Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
        new Subscriber(channel, List.of(arguments).subList(2, arguments.length), Path.of(arguments[1])).run();
    }

    /** Replace this. With a database, save the cursor in the same transaction: each event is then handled just once. */
    private void handle(Event event) {
        System.out.println(event.getVid() + " " + event.getTopic() + " " + event.getData().toStringUtf8());
    }

    /** Events that were not handled yet are gone: load the current state from where it is kept. */
    private void missed(Gap gap) {
        System.err.println("events are gone: " + gap);
    }

    void run() throws IOException, InterruptedException, StatusException {
        while (true) {
            String why = follow();
            long wait = waitMs();
            System.err.println("reconnecting after " + cursor + " in " + wait + " ms: " + why);
            Thread.sleep(wait);
        }
    }

    /** One stream, from its request to its end; says why it ended. Nothing more is read while an event is handled. */
    private String follow() throws IOException, InterruptedException, StatusException {
        SubscribeRequest request = SubscribeRequest.newBuilder().addAllTopic(topics).setAfter(cursor).build();
        silentAfterMs = HELLO_MS;
        askedWaitMs = null;
        // The channel's own back-off grows to two minutes; the one of this class is enough.
        channel.resetConnectBackoff();
        BlockingClientCall<?, SubscribeResponse> call = EventBusGrpc.newBlockingV2Stub(channel).subscribe(request);

        try {
            for (SubscribeResponse step; (step = call.read(silentAfterMs, TimeUnit.MILLISECONDS)) != null; ) {
                take(step);
            }
            return "the stream ended";
        } catch (TimeoutException silence) {
            return "nothing came for " + silentAfterMs + " ms";
        } catch (StatusException error) {
            if (FINAL.contains(error.getStatus().getCode())) {
                throw error;
            }
            return error.getMessage();
        } finally {
            call.cancel("no more is wanted", null);
        }
    }

    private void take(SubscribeResponse step) throws IOException {
        switch (step.getMessageCase()) {
            case HELLO -> {
                epoch = step.getHello().getEpoch();
                silentAfterMs = step.getHello().getHeartbeatMs() * 5L / 2;
            }
            case EVENTS -> takeEvents(step.getEvents().getEventsList());
            case GAP -> {
                epoch = step.getGap().getEpoch();
                lastVid = step.getGap().getReason().equals("reset") ? 0 : lastVid;
                missed(step.getGap());
            }
            case CAUGHT_UP -> save(step.getCaughtUp().getCursor());
            case PROGRESS -> save(step.getProgress().getCursor());
            case CLOSING -> askedWaitMs = (long) step.getClosing().getRetryMs();
            default -> { } // A later version of the gateway says something new.
        }
    }

    private void takeEvents(List<Event> events) throws IOException {
        failures = 0;
        for (Event event : events) {
            if (event.getVid() > lastVid) {
                handle(event);
                lastVid = event.getVid();
                save(lastVid + "-" + epoch);
            }
        }
    }

    /** The file is replaced whole, so that a crash leaves the old cursor or the new one. */
    private void save(String newCursor) throws IOException {
        if (!newCursor.equals(cursor)) {
            cursor = newCursor;
            Path next = cursorFile.resolveSibling(cursorFile.getFileName() + ".new");
            Files.writeString(next, cursor);
            Files.move(next, cursorFile, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
        }
    }

    /** A random time under a bound that doubles, so that not all readers come back at once; or as the gateway asked. */
    private long waitMs() {
        double chance = ThreadLocalRandom.current().nextDouble();
        long bound = Math.min(LONGEST_MS, BASE_MS << Math.min(failures++, 10));
        return (long) (askedWaitMs == null ? chance * bound : (0.5 + chance) * askedWaitMs);
    }
}
