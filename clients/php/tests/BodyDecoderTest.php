<?php

declare(strict_types=1);

namespace Vidette\Tests;

use PHPUnit\Framework\TestCase;
use Vidette\Http\BodyDecoder;
use Vidette\Http\ConnectionLost;

final class BodyDecoderTest extends TestCase
{
    private const CHUNKED = "3\r\nabc\r\n0A;name=value\r\n0123456789\r\n0\r\n\r\n";

    public function testChunksMayBeSplitAnywhere(): void
    {
        for ($at = 0; $at <= strlen(self::CHUNKED); $at++) {
            $decoder = new BodyDecoder(['transfer-encoding' => 'chunked']);
            $body = $decoder->feed(substr(self::CHUNKED, 0, $at)) . $decoder->feed(substr(self::CHUNKED, $at));

            self::assertSame('abc0123456789', $body, "split at $at");
            self::assertTrue($decoder->isComplete());
            $decoder->end();
        }
    }

    public function testABodyWithALengthEndsThere(): void
    {
        $decoder = new BodyDecoder(['content-length' => '5']);

        self::assertSame('abcde', $decoder->feed('ab') . $decoder->feed('cdefg'));
        self::assertTrue($decoder->isComplete());
        self::assertTrue((new BodyDecoder(['content-length' => '0']))->isComplete());
    }

    public function testABodyWithoutALengthEndsWithTheConnection(): void
    {
        $decoder = new BodyDecoder([]);
        self::assertSame('abc', $decoder->feed('abc'));
        self::assertFalse($decoder->isComplete());

        $decoder->end();
        self::assertTrue($decoder->isComplete());
    }

    /** @dataProvider cutBodies */
    public function testABodyThatIsCutIsAnError(array $headers, string $bytes): void
    {
        $decoder = new BodyDecoder($headers);
        $this->expectException(ConnectionLost::class);

        $decoder->feed($bytes);
        $decoder->end();
    }

    public static function cutBodies(): array
    {
        return [
            'within its length' => [['content-length' => '5'], 'abcd'],
            'within a chunk' => [['transfer-encoding' => 'chunked'], "3\r\nab"],
            'within a size' => [['transfer-encoding' => 'chunked'], "3\r\nabc\r\n1"],
            'before the last chunk' => [['transfer-encoding' => 'chunked'], "3\r\nabc\r\n"],
            'no size' => [['transfer-encoding' => 'chunked'], "<html>"],
            'a size that never ends' => [['transfer-encoding' => 'chunked'], '1;' . str_repeat('x', 2000)],
        ];
    }
}
