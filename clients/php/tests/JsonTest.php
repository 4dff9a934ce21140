<?php

declare(strict_types=1);

namespace Vidette\Tests;

use PHPUnit\Framework\TestCase;
use Vidette\Internal\Json;

final class JsonTest extends TestCase
{
    public function testAMemberKeepsItsText(): void
    {
        $json = ' { "a" : "}\\"," , "dat\\u0061" : {"n": [1.50, "]}\\\\"], "m":123456789012345678901234567890 } , "z":[ ] } ';

        self::assertSame('{"n": [1.50, "]}\\\\"], "m":123456789012345678901234567890 }', Json::member($json, 'data'));
        self::assertSame('"}\\","', Json::member($json, 'a'));
        self::assertSame('[ ]', Json::member($json, 'z'));
        self::assertNull(Json::member($json, 'n'));
        self::assertSame('123456789012345678901234567890', Json::object($json)['data']['m']);
    }

    public function testTheLastMemberOfANameCounts(): void
    {
        self::assertSame('2', Json::member('{"data":1,"data":2}', 'data'));
    }

    public function testElementsKeepTheirText(): void
    {
        self::assertSame(['1.0', '{"a":[","]}', 'null', '"]"'], Json::elements('[1.0 ,{"a":[","]}, null,"]"]'));
        self::assertSame([], Json::elements(' [ ] '));
    }

    /** A broken text must end the scanner, not loop; what it finds then is not used. */
    public function testATextThatIsCutEnds(): void
    {
        $json = '{"a":[{"b":"\\"c"}],"d":"e\\\\","f":-1.5e3}';
        self::assertNotSame([], Json::object($json));

        for ($length = 0; $length < strlen($json); $length++) {
            $cut = substr($json, 0, $length);
            Json::member($cut, 'd');
            Json::elements("[$cut");
            self::assertSame([], Json::object($cut));
        }
    }
}
